//! Who has a place for itself where these are few.

use std::collections::BTreeMap;

use crate::ticket::MemberSince;

/// Whose place goes to one more of `group` that has been a member since `since`, in a full table
/// with these entries: that of the newest member of the largest group, if that is larger by more
/// than one; else that of the newest of the same group, if it came later.
///
/// Each such change makes the groups more even, or replaces a member by an earlier one: those who
/// come again do not take their places from each other in a circle.
pub(crate) fn gives_way<K: Copy, G: Ord>(
    entries: impl Iterator<Item = (K, G, MemberSince)> + Clone,
    group: &G,
    since: MemberSince,
) -> Option<K> {
    let mut sizes = BTreeMap::<G, usize>::new();
    for (_, group, _) in entries.clone() {
        *sizes.entry(group).or_default() += 1;
    }
    let has = sizes.get(group).copied().unwrap_or_default();
    let largest = sizes.iter().max_by_key(|(_, size)| **size);
    let larger = largest.filter(|(_, size)| **size > has + 1).map(|(larger, _)| larger);
    let of = entries.filter(|(_, other, _)| other == larger.unwrap_or(group));
    let (key, _, newest) = of.max_by_key(|(_, _, since)| *since)?;
    (larger.is_some() || since < newest).then_some(key)
}
