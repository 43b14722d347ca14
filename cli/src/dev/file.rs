//! The file of a cluster, read again whenever it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::control::Control;
use super::given::{self, Given};
use super::recipe::Recipe;

/// Time between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a file looks from outside.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let read = || {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self(read())
    }
}

/// Follows the file until dropped. What cannot be followed is said, and what runs goes on as it was. `given` is what it said
/// when it looked like `read`, or soon after.
pub(super) async fn watch(path: PathBuf, (mut given, mut read): (Given, Stamp), recipe: Recipe, control: Arc<Control>) {
    let name = path.display();
    let mut last = Stamp::of(&path);
    loop {
        sleep(LOOK_EVERY).await;
        let stamp = Stamp::of(&path);
        // Whoever is still writing has time to end.
        let settled = stamp == std::mem::replace(&mut last, stamp.clone());
        if !settled || stamp == read {
            continue;
        }
        read = stamp;
        let next = given::by_file(&path, Some(&given)).and_then(|next| Ok((recipe.config(Some(&next))?, next)));
        match next {
            Ok((config, next)) => {
                eprintln!("{name}: {}", next.sizes());
                next.flaws.iter().for_each(|flaw| eprintln!("{name}: {flaw}"));
                control.follow(&next, Arc::new(config));
                given = next;
            }
            Err(problem) => {
                eprintln!("{name}: {problem}; what runs goes on as it was");
                control.refuse(Some(problem));
            }
        }
    }
}
