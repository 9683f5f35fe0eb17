//! A seeded network that loses, delays, reorders and cuts.
