//! Names that are taken. The watches tell of objects with the operator's labels only, so what is to be made may be there
//! already: one of ours that lost them, or somebody else's, which must not be touched.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{ListParams, Patch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Failure, Hands, apply_params, create_params, merge_params};
use crate::render::Owner;
use crate::snapshot::{Whose, owners, whose};

impl Hands<'_> {
    /// Writes all fields of an object that are the operator's, whoever wrote them last: of one that is ours. What was not
    /// `seen` is looked for first.
    ///
    /// It is made by an apply, too: only so are fields that a later one leaves out taken away. Whoever makes one of this
    /// name in the moment after the look is not written over, for an apply that is not forced changes no field of others.
    pub(super) async fn write<K>(&self, name: &str, object: &K, seen: Option<&ObjectMeta>) -> Result<K, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let found = match seen {
            Some(seen) => Some(ours::<K>(&self.owner(), seen.clone())?),
            None => self.taken::<K>(name).await?,
        };
        let mut object = object.clone();
        // With a uid nothing but that object is written, and none is made.
        object.meta_mut().uid = found.and_then(|found| found.uid);
        let params = if object.meta().uid.is_some() { apply_params() } else { create_params() };
        self.call(self.api::<K>().patch(name, &params, &Patch::Apply(&object))).await
    }

    /// Takes one back that could not be made because it is there, is ours and was not seen: it has lost its labels, or a
    /// watch is about to tell of it. What it is now, if it was written.
    pub(super) async fn take_back<K>(&self, name: &str, wanted: &ObjectMeta) -> Result<Option<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let Some(found) = self.taken::<K>(name).await? else {
            return Err(Failure::Stale(format!("{name} was there, and has gone")));
        };
        let has = |(key, value)| found.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value);
        let labels = wanted.labels.clone().unwrap_or_default();
        if labels.iter().all(has) && whose(&self.owner(), &found) == Whose::Ours {
            return Ok(None);
        }
        let patch = Patch::Merge(json!({"metadata": mended(&self.owner(), &found, labels)}));
        self.call(self.api::<K>().patch(name, &merge_params(), &patch)).await.map(Some)
    }

    /// The object of this name, if there is one: it is ours. Asked for in a list, for the operator needs the right to list
    /// and no other to read.
    async fn taken<K>(&self, name: &str) -> Result<Option<ObjectMeta>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.call(self.api::<K>().list_metadata(&named)).await?;
        found.items.into_iter().next().map(|found| ours::<K>(&self.owner(), found.metadata)).transpose()
    }
}

/// An object, if it is ours.
fn ours<K: Resource<DynamicType = ()>>(owner: &Owner<'_>, found: ObjectMeta) -> Result<ObjectMeta, Failure> {
    let (kind, name) = (K::kind(&()), found.name.as_deref().unwrap_or_default());
    match whose(owner, &found) {
        Whose::Ours | Whose::Released => Ok(found),
        Whose::Earlier => Err(Failure::Stale(format!("{kind} {name} is of an earlier cluster of this name, and goes"))),
        Whose::Foreign(None) => Err(Failure::Foreign(format!("{kind} {name} exists and is not ours"))),
        Whose::Foreign(Some(by)) => Err(Failure::Foreign(format!("{kind} {name} exists and is not ours but of {by}"))),
    }
}

/// Metadata to be merged into an object, so that it has these labels and its owner; only if it is still the same.
pub(super) fn mended(owner: &Owner<'_>, found: &ObjectMeta, labels: impl Serialize) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |field: &str, value: Value| drop(fields.insert(field.to_owned(), value));
    put("uid", json!(found.uid));
    put("labels", json!(labels));
    if whose(owner, found) != Whose::Ours {
        put("ownerReferences", json!(owners(owner, found)));
        // A list is written as a whole: whoever took it over in between must be seen first.
        put("resourceVersion", json!(found.resource_version));
    }
    fields
}
