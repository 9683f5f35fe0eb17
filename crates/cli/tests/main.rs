//! The command from outside.

mod accounts;
mod command;
mod hosted;
mod networks;
mod reaching;
mod trial;
