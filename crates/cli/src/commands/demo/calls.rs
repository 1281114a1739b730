//! The calls of the demo: one typed, one list, one that fails, one that brings a picture.

use integrations::client::{CallError, IntegrationHandle};
use integrations_testkit::twin::github::{Fault, GithubTwin};
use serde::Deserialize;

use crate::exit::{Failure, Outcome};

const ISSUES: &str = "/repos/{owner}/{repo}/issues";

/// What is read of an issue; GitHub sends much more.
#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: String,
    state: String,
}

/// Makes the calls; a line about each.
pub(super) async fn make(handle: &IntegrationHandle, twin: &GithubTwin) -> Outcome<Vec<String>> {
    Ok(vec![
        typed(handle).await?,
        list(handle).await?,
        failing(handle, twin).await?,
        picture(handle).await?,
    ])
}

async fn typed(handle: &IntegrationHandle) -> Outcome<String> {
    let call = handle.get(format!("{ISSUES}/{{n}}")).param("n", 1);
    let Issue {
        number,
        title,
        state,
    } = call.json().await?;
    Ok(format!(
        "one issue, as a struct: #{number} `{title}` is {state}"
    ))
}

async fn list(handle: &IntegrationHandle) -> Outcome<String> {
    let call = handle.get(ISSUES).query("per_page", 5);
    let issues: Vec<Issue> = call.json().await?;
    Ok(format!("a page of issues: {} of them", issues.len()))
}

/// The twin is told to fail once, and there is no second attempt. That counts as an outage, which the next success forgets.
async fn failing(handle: &IntegrationHandle, twin: &GithubTwin) -> Outcome<String> {
    twin.inject(Fault::status(500));
    match handle.get(ISSUES).attempts(1).send().await {
        Ok(_) => Err(Failure::failed("the stand-in was to fail, and did not")),
        Err(error) => Ok(format!(
            "one that fails: {error}; {}",
            health(handle).await?
        )),
    }
}

async fn health(handle: &IntegrationHandle) -> Outcome<String> {
    let row = super::row_of(handle).await?;
    Ok(format!(
        "outages in a row are now {}",
        row.health.consecutive_failures
    ))
}

async fn picture(handle: &IntegrationHandle) -> Result<String, CallError> {
    let call = handle.get("/repos/{owner}/{repo}/contents/logo.png");
    let answer = call
        .header("accept", "application/vnd.github.raw+json")
        .send()
        .await?;
    Ok(format!("a picture: {} bytes of PNG", answer.body.len()))
}
