//! Who may speak and enter: mute, block, allow, roles, and the exceptions from a mute of everybody.
//!
//! Entries may end by themselves; a check compares times, so an ended entry counts for nothing even before it is swept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Millis, UserId};

/// Most entries in one list of one room.
pub const MAX_LIST_ENTRIES: usize = 100_000;

/// What a user is in a room. All roles may write while everybody is muted and may use lane 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Whose room it is.
    Owner,
    /// Helps the owner.
    Admin,
    /// Speaks to the audience.
    Speaker,
}

impl Role {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Speaker => "speaker",
        }
    }
}

/// One of the lists of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListName {
    /// May not write.
    Mute,
    /// May not enter.
    Block,
    /// Travels on lane 1 and is never taken out for being offline.
    Allow,
    /// May write while everybody is muted.
    Except,
    /// Has a role.
    Role(Role),
}

impl ListName {
    /// All lists.
    pub const ALL: [Self; 7] = [
        Self::Mute,
        Self::Block,
        Self::Allow,
        Self::Except,
        Self::Role(Role::Owner),
        Self::Role(Role::Admin),
        Self::Role(Role::Speaker),
    ];

    /// The text on the wire: `mute`, `block`, `allow`, `except`, `role:owner`, `role:admin`, `role:speaker`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Except => "except",
            Self::Role(Role::Owner) => "role:owner",
            Self::Role(Role::Admin) => "role:admin",
            Self::Role(Role::Speaker) => "role:speaker",
        }
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why lists cannot be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The list has no such name.
    #[error("a list is one of mute, block, allow, except, role:owner, role:admin, role:speaker")]
    Unknown,
    /// The list would hold more than [`MAX_LIST_ENTRIES`].
    #[error("a list holds at most {MAX_LIST_ENTRIES} users; remove some first")]
    Full,
}

impl FromStr for ListName {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        Self::ALL.into_iter().find(|list| list.as_str() == text).ok_or(ListError::Unknown)
    }
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Who.
    pub user: UserId,
    /// Until when, Unix time; none: until removed.
    pub until: Option<Millis>,
}

/// A change of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListChange {
    /// Which list.
    pub list: ListName,
    /// Put in, or given another end.
    pub add: Vec<ListEntry>,
    /// Taken out; who is not in it is passed over.
    pub remove: Vec<UserId>,
}

/// All lists of one room. Owned by the room's Pod, written to the store with each change, read back by a new owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    by_name: BTreeMap<ListName, BTreeMap<UserId, Option<Millis>>>,
}

impl Lists {
    /// Whether `user` is in the list at `unix`.
    #[must_use]
    pub fn has(&self, list: ListName, user: &UserId, unix: Millis) -> bool {
        self.by_name.get(&list).and_then(|entries| entries.get(user)).is_some_and(|until| lasts(*until, unix))
    }

    /// The most important role of `user`, if any.
    #[must_use]
    pub fn role(&self, user: &UserId, unix: Millis) -> Option<Role> {
        [Role::Owner, Role::Admin, Role::Speaker].into_iter().find(|role| self.has(ListName::Role(*role), user, unix))
    }

    /// Applies a change, all of it or nothing.
    pub fn change(&mut self, change: &ListChange) -> Result<(), ListError> {
        let entries = self.by_name.entry(change.list).or_default();
        let new = change.add.iter().filter(|entry| !entries.contains_key(&entry.user)).count();
        let gone = change.remove.iter().filter(|user| entries.contains_key(*user)).count();
        if (entries.len() + new).saturating_sub(gone) > MAX_LIST_ENTRIES {
            return Err(ListError::Full);
        }
        for entry in &change.add {
            entries.insert(entry.user.clone(), entry.until);
        }
        for user in &change.remove {
            entries.remove(user);
        }
        Ok(())
    }

    /// What is in a list at `unix`, by user.
    pub fn entries(&self, list: ListName, unix: Millis) -> impl Iterator<Item = ListEntry> {
        let entries = self.by_name.get(&list).into_iter().flatten();
        entries
            .filter(move |(_, until)| lasts(**until, unix))
            .map(|(user, until)| ListEntry { user: user.clone(), until: *until })
    }

    /// Drops what has ended; returns who left the allow list by that.
    pub fn sweep(&mut self, unix: Millis) -> Vec<UserId> {
        let mut no_longer_allowed = Vec::new();
        for (list, entries) in &mut self.by_name {
            entries.retain(|user, until| {
                let stays = lasts(*until, unix);
                if !stays && *list == ListName::Allow {
                    no_longer_allowed.push(user.clone());
                }
                stays
            });
        }
        self.by_name.retain(|_, entries| !entries.is_empty());
        no_longer_allowed
    }

    /// Whether nobody is in any list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.values().all(BTreeMap::is_empty)
    }
}

fn lasts(until: Option<Millis>, unix: Millis) -> bool {
    until.is_none_or(|until| until > unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn add(list: ListName, name: &str, until: Option<u64>) -> ListChange {
        ListChange { list, add: vec![ListEntry { user: user(name), until: until.map(Millis) }], remove: vec![] }
    }

    #[test]
    fn an_entry_ends_by_itself_and_is_swept() {
        let mut lists = Lists::default();
        lists.change(&add(ListName::Allow, "ana", Some(1000))).unwrap();
        lists.change(&add(ListName::Mute, "bob", None)).unwrap();
        assert!(lists.has(ListName::Allow, &user("ana"), Millis(999)));
        assert!(!lists.has(ListName::Allow, &user("ana"), Millis(1000)));
        assert_eq!(lists.sweep(Millis(1000)), [user("ana")]);
        assert!(lists.has(ListName::Mute, &user("bob"), Millis(u64::MAX)));
        assert_eq!(lists.entries(ListName::Mute, Millis(0)).count(), 1);
    }

    #[test]
    fn a_removed_user_is_out_and_the_most_important_role_counts() {
        let mut lists = Lists::default();
        lists.change(&add(ListName::Role(Role::Speaker), "ana", None)).unwrap();
        lists.change(&add(ListName::Role(Role::Admin), "ana", None)).unwrap();
        assert_eq!(lists.role(&user("ana"), Millis(0)), Some(Role::Admin));
        let out = ListChange { list: ListName::Role(Role::Admin), add: vec![], remove: vec![user("ana"), user("eve")] };
        lists.change(&out).unwrap();
        assert_eq!(lists.role(&user("ana"), Millis(0)), Some(Role::Speaker));
    }

    #[test]
    fn names_of_lists_read_back() {
        for list in ListName::ALL {
            assert_eq!(list.as_str().parse(), Ok(list));
        }
        assert_eq!("ban".parse::<ListName>(), Err(ListError::Unknown));
    }

    #[test]
    fn a_list_has_an_end() {
        let mut lists = Lists::default();
        let entry = |i: usize| ListEntry { user: user(&format!("u{i}")), until: None };
        let full =
            ListChange { list: ListName::Block, add: (0..MAX_LIST_ENTRIES).map(entry).collect(), remove: vec![] };
        lists.change(&full).unwrap();
        assert_eq!(lists.change(&add(ListName::Block, "more", None)), Err(ListError::Full));
        assert_eq!(lists.change(&add(ListName::Block, "u1", Some(5))), Ok(()));
        let exchange = |remove: &str| ListChange { remove: vec![user(remove)], ..add(ListName::Block, "more", None) };
        assert_eq!(lists.change(&exchange("nobody")), Err(ListError::Full));
        assert_eq!(lists.change(&exchange("u2")), Ok(()), "whoever goes makes room");
    }
}
