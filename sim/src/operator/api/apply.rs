//! Server-side apply: several write one object, each its own fields.

use throng_core::Millis;

use super::{Answer, Expected, Fields, Key, Object, Refusal, Server};

/// A server-side apply.
#[derive(Clone, Debug)]
pub struct Apply<'a> {
    /// Who applies.
    pub manager: &'a str,
    /// Takes fields from other managers.
    pub force: bool,
    /// All fields that the manager wants. One that it wanted before and no more goes.
    pub fields: Fields,
    /// Owner of the object, if it is made.
    pub owner: Option<&'a str>,
}

impl Server {
    /// Applies fields to an object; it is made if it is not there and nothing is expected of it.
    ///
    /// # Errors
    /// It is not as expected, or another manager has given a field another value.
    pub fn apply(&mut self, now: Millis, key: &Key, expected: &Expected, apply: &Apply<'_>) -> Answer {
        let Some(before) = self.get(key.0, &key.1) else {
            if *expected != Expected::default() {
                return Err(Refusal::NotFound);
            }
            let mut object = Object { owner: apply.owner.map(str::to_owned), ..Object::default() };
            write(&mut object, apply)?;
            return self.create(now, key.clone(), object);
        };
        let mut after = Object::clone(before);
        write(&mut after, apply)?;
        self.edit(key, expected, |object| (object.fields, object.managers) = (after.fields, after.managers))
    }

    /// Writes the status, and nothing else.
    ///
    /// # Errors
    /// It is not there, or not as expected.
    pub fn apply_status(&mut self, key: &Key, expected: &Expected, status: Fields) -> Answer {
        self.edit(key, expected, |object| object.status = status)
    }
}

fn write(object: &mut Object, apply: &Apply<'_>) -> Result<(), Refusal> {
    for (path, value) in &apply.fields {
        let other = object.managers.get(path).filter(|manager| *manager != apply.manager);
        if let Some(other) = other.filter(|_| !apply.force && object.field(path) != value) {
            return Err(Refusal::Conflict(format!("{path} is managed by {other}")));
        }
    }
    let mine = |path: &String| object.managers.get(path).is_some_and(|manager| manager == apply.manager);
    let dropped: Vec<String> =
        object.fields.keys().filter(|path| mine(path) && !apply.fields.contains_key(*path)).cloned().collect();
    for path in dropped {
        object.fields.remove(&path);
        object.managers.remove(&path);
    }
    for (path, value) in &apply.fields {
        object.fields.insert(path.clone(), value.clone());
        object.managers.insert(path.clone(), apply.manager.to_owned());
    }
    Ok(())
}
