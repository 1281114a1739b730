//! `install`

use std::collections::BTreeMap;

use integrations::{
    client::{Install, PreparedInstall, ProbeReport, ScopedClient},
    integration::IntegrationRef,
    provider::{Field, FieldError, Fields, Provider},
    value::{IntegrationName, ProviderKey},
};
use secrecy::SecretString;

use super::{secrets, view, webhook_route};
use crate::{
    args::InstallArgs,
    context::Context,
    exit::{Exit, Failure, Outcome},
    terminal,
};

/// Nothing is opened before every field is there, and nothing is stored before it was tried.
pub(super) async fn run(context: &Context, args: InstallArgs) -> Outcome {
    let provider = provider(context, &args.provider)?;
    let name = args.name.as_deref().unwrap_or(provider.name());
    let name = IntegrationName::new(name).map_err(|error| Failure::refused(error.to_string()))?;
    let mut credentials = secrets::credentials(&args.credentials)?;
    let mut metadata = secrets::metadata(args.metadata)?;
    if context.terminal.is_interactive() {
        ask(provider, &mut credentials, &mut metadata)?;
    }
    check(provider, &credentials, &metadata)?;
    let client = context.client().await?;
    let operator = client.operator();
    let prepared = operator.prepare(Install {
        provider: provider.key(),
        name,
        owner: args.owner,
        credentials,
        metadata,
        sync_interval_minutes: args.interval,
    })?;
    if !args.force {
        let go_on = is_wanted_again(context, &operator, &prepared).await?
            && works_or_is_wanted(context, &operator, &prepared).await?;
        if !go_on {
            context.output.note("nothing was installed");
            return Ok(Exit::Done);
        }
    }
    let installed = operator.install(prepared).await?;
    // Read back, so that what is shown is what is stored.
    let reference = IntegrationRef::Id(installed.id);
    let stored = operator
        .integration(reference)
        .find()
        .await?
        .unwrap_or(installed);
    let mut fields = view::integration_fields(&stored);
    let mut json = view::integration_json(&stored, None);
    webhook_route::add(context, &stored, &mut fields, &mut json)?;
    context.output.record(&fields, &json)?;
    Ok(Exit::Done)
}

fn provider<'a>(context: &'a Context, key: &str) -> Outcome<&'a dyn Provider> {
    let found = ProviderKey::new(key)
        .ok()
        .and_then(|key| context.provider(&key));
    found.ok_or_else(|| {
        let known: Vec<_> = context
            .providers()
            .iter()
            .map(|p| p.key().to_string())
            .collect();
        Failure::refused(format!(
            "this program does not know the provider `{key}`; known are: {}",
            known.join(", ")
        ))
    })
}

/// Asks for the required fields that are missing.
fn ask(
    provider: &dyn Provider,
    credentials: &mut BTreeMap<String, SecretString>,
    metadata: &mut BTreeMap<String, String>,
) -> Outcome<()> {
    for field in missing(&provider.credentials(), |name| {
        credentials.contains_key(name)
    }) {
        let answer = terminal::ask_secret(&question(&field))?;
        credentials.insert(field.name, answer);
    }
    for field in missing(&provider.metadata(), |name| metadata.contains_key(name)) {
        let answer = terminal::ask(&question(&field))?;
        metadata.insert(field.name, answer);
    }
    Ok(())
}

fn missing(fields: &Fields, given: impl Fn(&str) -> bool) -> Vec<Field> {
    let missing = fields
        .iter()
        .filter(|field| field.required && !given(&field.name));
    missing.cloned().collect()
}

fn question(field: &Field) -> String {
    match &field.description {
        Some(description) => format!("{} ({})", field.name, description.trim_end_matches('.')),
        None => field.name.clone(),
    }
}

/// Refuses fields that are missing or wrong, all at once.
fn check(
    provider: &dyn Provider,
    credentials: &BTreeMap<String, SecretString>,
    metadata: &BTreeMap<String, String>,
) -> Outcome<()> {
    let credentials = provider.credentials().check(&secrets::exposed(credentials));
    let metadata = provider.metadata().check(metadata);
    let errors = [credentials.err(), metadata.err()].into_iter().flatten();
    let errors: Vec<FieldError> = errors.flatten().collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::fields(&errors))
}

/// Whether there is none of this name yet, or another is wanted.
async fn is_wanted_again(
    context: &Context,
    operator: &ScopedClient,
    prepared: &PreparedInstall,
) -> Outcome<bool> {
    let existing = operator.installed_as(prepared).await?;
    let Some(first) = existing.first() else {
        return Ok(true);
    };
    let there = format!(
        "`{}` of {} is installed already, as integration {}",
        first.name, first.provider, first.id
    );
    match context
        .terminal
        .confirm(&format!("{there}; install another?"), false)?
    {
        Some(answer) => Ok(answer),
        None => Err(Failure::refused(format!(
            "{there}; `--force` installs another"
        ))),
    }
}

/// Whether the provider takes the account, or it is wanted all the same.
async fn works_or_is_wanted(
    context: &Context,
    operator: &ScopedClient,
    prepared: &PreparedInstall,
) -> Outcome<bool> {
    match operator.probe(prepared).await? {
        ProbeReport::Passed => {
            context.output.note("the provider takes these credentials");
            Ok(true)
        }
        ProbeReport::NotSupported => Ok(true),
        ProbeReport::Failed(why) => {
            let failed = format!("trying it failed: {why}");
            match context
                .terminal
                .confirm(&format!("{failed}; install it anyway?"), true)?
            {
                Some(answer) => Ok(answer),
                None => Err(Failure::refused(format!(
                    "{failed}; nothing was installed; `--force` installs it anyway"
                ))),
            }
        }
    }
}
