//! The request pipeline over a store in memory and a scripted transport.

mod accounts;
mod acme;
mod calls;
mod faults;
mod health;
mod sdk;
