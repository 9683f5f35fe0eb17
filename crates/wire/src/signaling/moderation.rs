//! What a member with the permission to moderate decides about others.

use serde::{Deserialize, Serialize};

use super::{MessageError, Password};
use crate::{PeerId, RoomName, limits};

/// One decision. On the wire `action` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Moderation {
    /// The others do not hear this member any more.
    Mute {
        /// The member.
        peer: PeerId,
    },
    /// They hear it again.
    Unmute {
        /// The member.
        peer: PeerId,
    },
    /// It leaves the room; it may come back.
    Kick {
        /// The member.
        peer: PeerId,
    },
    /// It leaves the room, and is not let in for a while: neither this peer id nor its address.
    Ban {
        /// The member.
        peer: PeerId,
        /// For how long, at most [`limits::BAN_SECONDS`].
        seconds: u32,
    },
    /// Ends a ban.
    Unban {
        /// The peer id that was banned.
        peer: PeerId,
    },
    /// Moves the member to these talk groups and holds it there: it listens to no other, and only
    /// those who listen to one of them hear it. A list with the group in which everyone begins
    /// (`Global`), or an empty one, holds it nowhere.
    Move {
        /// The member.
        peer: PeerId,
        /// The groups.
        groups: Vec<String>,
    },
    /// Lets in only those who have a valid ticket.
    Lock,
    /// Ends that.
    Unlock,
    /// The room has this password from now on; those who are in stay.
    SetPassword {
        /// None, or an empty one: no password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Password>,
    },
    /// Hands the owner's right on to another member. Only the one who has it may.
    MakeOwner {
        /// The member.
        peer: PeerId,
    },
}

impl Moderation {
    pub(super) fn validate(&self) -> Result<(), MessageError> {
        match self {
            Self::Ban { seconds, .. } if *seconds == 0 || *seconds > limits::BAN_SECONDS => Err(
                MessageError::BadField(format!("a ban lasts 1 to {} seconds", limits::BAN_SECONDS)),
            ),
            Self::Move { groups, .. }
                if groups.len() > limits::GROUPS_PER_CLIENT
                    || groups.iter().any(|group| group.len() > limits::GROUP_NAME_BYTES) =>
            {
                Err(MessageError::BadField("too many groups, or too long a name".to_owned()))
            }
            // A member would read that it is held in a group whose name it cannot see.
            Self::Move { groups, .. }
                if groups.iter().any(|group| RoomName::parse(group).is_err()) =>
            {
                Err(MessageError::BadField("a group's name cannot be blank".to_owned()))
            }
            Self::SetPassword { password: Some(password) }
                if password.len() > limits::PASSWORD_BYTES =>
            {
                Err(MessageError::BadPassword)
            }
            Self::Mute { .. }
            | Self::Unmute { .. }
            | Self::Kick { .. }
            | Self::Ban { .. }
            | Self::Unban { .. }
            | Self::Move { .. }
            | Self::Lock
            | Self::Unlock
            | Self::SetPassword { .. }
            | Self::MakeOwner { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_is_held_in_a_group_whose_name_cannot_be_seen() {
        let peer = PeerId(uuid::Uuid::nil());
        let move_to =
            |group: &str| Moderation::Move { peer, groups: vec![group.to_owned()] }.validate();
        assert!(
            ["Red", "café", "\u{1f469}\u{200d}\u{1f680}"]
                .iter()
                .all(|group| move_to(group).is_ok())
        );
        assert!(["", " ", "\u{200b}", "\u{3164}"].iter().all(|group| move_to(group).is_err()));
        assert!(Moderation::Move { peer, groups: Vec::new() }.validate().is_ok());
    }
}
