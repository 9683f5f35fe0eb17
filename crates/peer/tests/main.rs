//! Rooms and voices as a program has them.

mod frame;
mod over;
mod polled;
