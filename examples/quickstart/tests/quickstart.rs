//! The quickstart against a twin of GitHub.

use integrations::{
    KeyRing, Owner, RingEncryptor, keys::SystemEntropy, provider::ProviderSettings,
    transport::AllowPrivate,
};
use integrations_testkit::twin::github::GithubTwin;

#[tokio::test]
async fn installs_calls_and_records_on_sqlite() {
    let twin = GithubTwin::builder()
        .token("ghp_quick")
        .repository("octo-org", "octo-repo")
        .issues(3);
    let twin = twin.start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("quickstart.db").display());
    let keys = RingEncryptor::new(KeyRing::generate(&SystemEntropy::new()).unwrap());
    let settings = ProviderSettings {
        base_url: Some(twin.base_url().parse().unwrap()),
        allow_private: AllowPrivate::All,
        ..ProviderSettings::default()
    };
    let client = example_quickstart::client(&database, keys, settings)
        .await
        .unwrap();
    let owner = Owner::new("team", 7).unwrap();
    let integration = example_quickstart::install(&client, &owner, "ghp_quick".into())
        .await
        .unwrap();

    let issue = example_quickstart::issue(&client, &owner, &integration, 1)
        .await
        .unwrap();
    assert_eq!(issue.number, 1);
    assert!(!issue.title.is_empty());

    let log = example_quickstart::log(&client, &owner).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].attempt.endpoint, "/repos/{owner}/{repo}/issues/{n}");
    assert!(log[0].attempt.provider_request_id.is_some());
    let foreign = Owner::new("team", 8).unwrap();
    assert!(
        example_quickstart::log(&client, &foreign)
            .await
            .unwrap()
            .is_empty()
    );
}
