//! The command from outside.

mod accounts;
mod command;
mod networks;
mod reaching;
mod trial;
