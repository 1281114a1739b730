//! `completions`

use clap::CommandFactory as _;

use crate::{
    args::{Args, CompletionsArgs},
    context::Context,
    exit::{Exit, Outcome},
};

pub(super) fn run(context: &Context, args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Args::command(),
        "integrations",
        &mut script,
    );
    context.output.bytes(&script)?;
    Ok(Exit::Done)
}
