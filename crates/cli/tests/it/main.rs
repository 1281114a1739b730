//! The command from outside: a process, its output, its exit status, and the database behind it.

mod accounts;
mod calls;
mod databases;
mod schema;
mod secrets;
mod usage;
mod world;
