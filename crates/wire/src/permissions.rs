//! What a member of a room may do.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a member of a room may do. In JSON it is the list of what is allowed, in the order of the
/// fields (`["speak","listen"]`); names that this version does not know are ignored.
///
/// The default is everything but `moderate`, and is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// Others hear it.
    pub speak: bool,
    /// It is sent the speech of others.
    pub listen: bool,
    /// It may write text, and send a game's own bytes.
    pub data: bool,
    /// It may decide about other members.
    pub moderate: bool,
}

impl Permissions {
    /// Nothing at all.
    pub const NONE: Self = Self { speak: false, listen: false, data: false, moderate: false };
    /// Everything.
    pub const ALL: Self = Self { speak: true, listen: true, data: true, moderate: true };

    /// The same without `speak`.
    #[must_use]
    pub fn without_speak(self) -> Self {
        Self { speak: false, ..self }
    }

    /// Whether these are the ones that a member has if nothing else is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The names of what is allowed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { speak, listen, data, moderate } = self;
        let all = [("speak", speak), ("listen", listen), ("data", data), ("moderate", moderate)];
        all.into_iter().filter_map(|(name, allowed)| allowed.then_some(name))
    }

    /// Allows what the name says. False if it is none that is known.
    pub fn allow(&mut self, name: &str) -> bool {
        match name {
            "speak" => self.speak = true,
            "listen" => self.listen = true,
            "data" => self.data = true,
            "moderate" => self.moderate = true,
            _ => return false,
        }
        true
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self { speak: true, listen: true, data: true, moderate: false }
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut permissions = Self::NONE;
        for name in Vec::<String>::deserialize(deserializer)? {
            permissions.allow(&name);
        }
        Ok(permissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_exactly_what_is_allowed() {
        for bits in 0..16_u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let permissions =
                Permissions { speak: bit(0), listen: bit(1), data: bit(2), moderate: bit(3) };
            let json = serde_json::to_string(&permissions).unwrap();
            assert_eq!(serde_json::from_str::<Permissions>(&json).unwrap(), permissions, "{json}");
        }
        let read: Permissions = serde_json::from_str(r#"["fly","listen","listen"]"#).unwrap();
        assert_eq!(read, Permissions { listen: true, ..Permissions::NONE });
        assert!(serde_json::from_str::<Permissions>(r#"{"speak":true}"#).is_err());
        assert_eq!(
            serde_json::to_string(&Permissions::default()).unwrap(),
            r#"["speak","listen","data"]"#
        );
    }
}
