//! The commands, one module each.

mod circuit;
mod completions;
mod demo;
mod follow;
mod idempotency;
mod install;
mod items;
mod keys;
mod list;
mod logs;
mod migrate;
mod providers;
mod prune;
mod publish;
mod rate_limit;
mod remove;
mod request;
mod requests;
mod secrets;
mod serve;
mod show;
mod switch;
mod sync;
mod test;
mod update;
mod view;
mod webhook_route;
mod webhooks;
mod worker;

use crate::{
    args::{
        Command, ItemsCommand, KeysCommand, LogsCommand, MigrationsCommand, RequestsCommand,
        WebhooksCommand,
    },
    context::Context,
    exit::Outcome,
};

/// Does what a command says.
pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Migrate(args) => migrate::run(context, &args).await,
        Command::Migrations(MigrationsCommand::Publish(args)) => publish::run(context, &args),
        Command::Keys(KeysCommand::Generate { id }) => keys::generate(context, id.as_ref()),
        Command::Keys(KeysCommand::List) => keys::list(context).await,
        Command::Providers => providers::run(context),
        Command::Install(args) => install::run(context, args).await,
        Command::List(args) => list::run(context, args).await,
        Command::Show(args) => show::run(context, args.id).await,
        Command::Update(args) => update::run(context, args).await,
        Command::Enable(args) => switch::enable(context, args.id).await,
        Command::Disable(args) => switch::disable(context, &args).await,
        Command::Remove(args) => remove::run(context, &args).await,
        Command::Test(args) => test::run(context, &args).await,
        Command::Request(args) => request::run(context, args).await,
        Command::Requests(args) => match args.command {
            Some(RequestsCommand::Show { id }) => requests::show(context, id).await,
            None => requests::list(context, args).await,
        },
        Command::Logs(args) => match args.command {
            Some(LogsCommand::Show { id }) => logs::show(context, id).await,
            None => logs::list(context, args).await,
        },
        Command::Circuit(args) => circuit::run(context, args).await,
        Command::RateLimit(args) => rate_limit::run(context, args).await,
        Command::Idempotency(command) => idempotency::run(context, command).await,
        Command::Webhooks(args) => match args.command {
            Some(WebhooksCommand::Show { id }) => webhooks::show(context, id).await,
            Some(WebhooksCommand::Replay(args)) => webhooks::replay(context, args).await,
            Some(WebhooksCommand::Recover) => webhooks::recover(context).await,
            Some(WebhooksCommand::List(list)) => webhooks::list(context, list).await,
            None => webhooks::list(context, args.list).await,
        },
        Command::Serve(args) => serve::run(context, &args).await,
        Command::Sync(args) => sync::run(context, args).await,
        Command::Worker(args) => worker::run(context, &args).await,
        Command::Items(ItemsCommand::List(args)) => items::list(context, args).await,
        Command::Items(ItemsCommand::Retry { id }) => items::retry(context, id).await,
        Command::Items(ItemsCommand::Skip { id, reason }) => {
            items::skip(context, id, reason.as_deref()).await
        }
        Command::AdvanceCursor(args) => items::advance_cursor(context, &args).await,
        Command::Prune(args) => prune::run(context, &args).await,
        Command::Demo => Box::pin(demo::run(context)).await,
        Command::Completions(args) => completions::run(context, &args),
    }
}
