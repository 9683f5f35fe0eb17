//! Cursor.
