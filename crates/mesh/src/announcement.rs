//! Where members publish their announcements.

/// The key under which a member publishes its announcement.
pub const ANNOUNCEMENT_KEY: &str = "e2ee";
