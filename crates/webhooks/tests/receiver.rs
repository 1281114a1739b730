//! The receiver over a store in memory, from request to row.

#[path = "receiver/answers.rs"]
mod answers;
#[path = "receiver/duplicates.rs"]
mod duplicates;
#[path = "receiver/own_route.rs"]
mod own_route;
#[path = "receiver/setup.rs"]
mod setup;
