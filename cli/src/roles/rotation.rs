//! Secrets that change while a process runs. The kubelet writes a changed Secret into its mount within about a minute; what
//! is mounted is read every few seconds and followed without a restart.
//!
//! Keys that people give to others (of tokens and of the API) count from then on, and not longer: who wants an overlap names
//! both for a while. Keys that only this cluster uses overlap by themselves: an old resume token is taken for an hour, and
//! a new key between Pods is taken at once but sent only when the others have it, too. The files of etcd are read at every
//! connection, so nothing has to be done for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_gateway::auth::BadKey;
use throng_gateway::options::{Auth, ResumeKey};
use throng_proto::key::PodKey;
use throng_store::RedisStore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{mounted, node};

/// How often what is mounted is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A new key between Pods is sent after so long: by then the kubelets of all nodes have written it (they look every minute
/// or so) and all processes have read it.
const SEND_AFTER: Duration = Duration::from_mins(2);
/// The key before is taken for so long after that.
const TAKE_STILL: Duration = Duration::from_mins(10);
/// Resume tokens of a replaced key are taken for so long.
const RESUME_STILL: Duration = Duration::from_hours(1);

/// Calls `look` every few seconds until stopped.
fn every(stop: CancellationToken, mut look: impl FnMut(Instant) + Send + 'static) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => look(Instant::now()),
            }
        }
    });
}

/// Says once what is wrong, until it is something else.
#[derive(Default)]
struct Complaint(Option<String>);

impl Complaint {
    fn about(&mut self, what: &str, error: Option<String>) {
        if let Some(error) = error.as_ref().filter(|error| self.0.as_ref() != Some(*error)) {
            warn!(error, "{what} cannot be followed: what was read before stays in force");
        }
        self.0 = error;
    }
}

/// Follows the keys of a gateway in mounted directories; `known` are those that it began with.
pub(super) fn follow_auth(
    configured: Auth,
    known: Auth,
    stop: CancellationToken,
    apply: impl Fn(&Auth) -> Result<(), BadKey> + Send + 'static,
) {
    if configured.jwt_dir.is_none() && configured.resume_dir.is_none() && configured.api_keys_dir.is_none() {
        return;
    }
    let mut keys = Keys { configured, in_force: known.clone(), known, overlap: Overlap::default() };
    let mut complaint = Complaint::default();
    every(stop, move |now| {
        let problem = match keys.look(now) {
            Ok(None) => None,
            Ok(Some(wanted)) => {
                let applied = apply(&wanted).map_err(|error| error.to_string());
                if applied.is_ok() {
                    info!("the keys of the gateway were changed");
                    keys.in_force = wanted;
                }
                applied.err()
            }
            Err(error) => Some(format!("{error:#}")),
        };
        complaint.about("a change of the keys", problem);
    });
}

/// The keys of a gateway: what says where they are, what was read last, and what was taken of it.
struct Keys {
    configured: Auth,
    known: Auth,
    in_force: Auth,
    overlap: Overlap,
}

impl Keys {
    /// Reads what is mounted now. The keys that should be in force, if those are others.
    fn look(&mut self, now: Instant) -> anyhow::Result<Option<Auth>> {
        let read = mounted::with_keys(&self.configured)?;
        self.overlap.replace(&self.known.resume, &read.resume, now);
        let wanted = Auth { resume: self.overlap.with(&read.resume, now), ..read.clone() };
        self.known = read;
        Ok(Some(wanted).filter(|wanted| *wanted != self.in_force))
    }
}

/// Resume keys that were replaced, each with the end of its time.
#[derive(Default)]
struct Overlap(Vec<(ResumeKey, Instant)>);

impl Overlap {
    fn replace(&mut self, before: &[ResumeKey], after: &[ResumeKey], now: Instant) {
        let gone = before.iter().filter(|key| !after.contains(key));
        self.0.extend(gone.map(|key| (key.clone(), now + RESUME_STILL)));
    }

    /// The keys of now, and after them those whose time is not over.
    fn with(&mut self, keys: &[ResumeKey], now: Instant) -> Vec<ResumeKey> {
        self.0.retain(|(key, until)| *until > now && !keys.contains(key));
        keys.iter().chain(self.0.iter().map(|(key, _)| key)).cloned().collect()
    }
}

/// Follows the key between Pods; `known` is the text that `key` was made of.
pub(super) fn follow_pod_key(file: PathBuf, known: String, key: PodKey, stop: CancellationToken) {
    let (mut turn, mut complaint) = (Turn::new(known), Complaint::default());
    every(stop, move |now| {
        let problem = match mounted::text(&file) {
            // What is no key is not begun with, or it would be sent one day.
            Ok(read) if PodKey::new(&read).is_none() => Some("it is no key of visible ASCII".to_owned()),
            Ok(read) => {
                if let Some((sent, taken)) = turn.look(&read, now)
                    && key.replace(&sent, &taken)
                {
                    info!("the key between Pods is being rotated");
                }
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        complaint.about("a change of the key between Pods", problem);
    });
}

/// Where the rotation of the key between Pods has come to. Keys are texts of one or several lines.
struct Turn {
    sent: String,
    /// Taken already, sent from then on.
    next: Option<(String, Instant)>,
    /// Taken until then.
    before: Option<(String, Instant)>,
}

impl Turn {
    const fn new(sent: String) -> Self {
        Self { sent, next: None, before: None }
    }

    /// Looks at what is mounted now. What is to be sent and what else to be taken, if that is another than before.
    fn look(&mut self, read: &str, now: Instant) -> Option<(String, String)> {
        let before = self.keys();
        if read == self.sent {
            self.next = None;
        } else if self.next.as_ref().is_none_or(|(next, _)| next != read) {
            self.next = Some((read.to_owned(), now + SEND_AFTER));
        }
        if let Some((next, _)) = self.next.take_if(|(_, at)| *at <= now) {
            self.before = Some((std::mem::replace(&mut self.sent, next), now + TAKE_STILL));
        }
        self.before.take_if(|(_, until)| *until <= now);
        Some(self.keys()).filter(|keys| *keys != before)
    }

    fn keys(&self) -> (String, String) {
        let others = [&self.next, &self.before].into_iter().flatten().map(|(text, _)| text.as_str());
        (self.sent.clone(), others.collect::<Vec<_>>().join("\n"))
    }
}

/// Follows user and password of Redis.
pub(super) fn follow_redis(directory: PathBuf, store: Arc<RedisStore>, stop: CancellationToken) {
    let (mut known, mut complaint) = (node::redis_credentials(&directory).ok(), Complaint::default());
    every(stop, move |_| {
        let problem = match node::redis_credentials(&directory) {
            Ok(read) => {
                if known.as_ref() != Some(&read) {
                    info!("Redis is reached with other credentials from the next connection on");
                    store.replace_credentials(&read);
                    known = Some(read);
                }
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        complaint.about("a change of the credentials of Redis", problem);
    });
}

#[cfg(test)]
mod tests {
    use throng_gateway::options::{Algorithm, Secret};

    use super::*;

    fn key(secret: &str) -> ResumeKey {
        ResumeKey { id: "r1".into(), secret: Secret(secret.into()) }
    }

    #[test]
    fn a_key_between_pods_is_taken_before_it_is_sent_and_the_old_one_after() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let said = |sent: &str, taken: &str| Some((sent.to_owned(), taken.to_owned()));
        let mut turn = Turn::new("old".into());
        assert_eq!(turn.look("old", at(0)), None);
        assert_eq!(turn.look("new", at(10)), said("old", "new"));
        assert_eq!(turn.look("new", at(20)), None);
        assert_eq!(turn.look("new", at(129)), None);
        assert_eq!(turn.look("new", at(130)), said("new", "old"));
        assert_eq!(turn.look("new", at(729)), None);
        assert_eq!(turn.look("new", at(730)), said("new", ""));
        // Changed one's mind.
        assert_eq!(turn.look("wrong", at(800)), said("new", "wrong"));
        assert_eq!(turn.look("new", at(810)), said("new", ""));
        assert_eq!(turn.look("new", at(2000)), None);
    }

    #[test]
    fn a_replaced_resume_key_is_taken_for_an_hour() {
        let began = Instant::now();
        let mut overlap = Overlap::default();
        overlap.replace(&[key("old")], &[key("new")], began);
        assert_eq!(overlap.with(&[key("new")], began), [key("new"), key("old")]);
        assert_eq!(overlap.with(&[key("new")], began + RESUME_STILL), [key("new")]);
        overlap.replace(&[key("new")], &[key("newer")], began);
        assert_eq!(overlap.with(&[key("new")], began), [key("new")], "one that came back is not kept twice");
    }

    #[test]
    fn what_is_mounted_is_followed_and_what_does_not_read_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let remove = |name: &str| std::fs::remove_file(directory.path().join(name)).unwrap();
        write("main", "a shared secret of 32 bytes or more");
        let configured =
            Auth { jwt_dir: Some(directory.path().into()), jwt_algorithms: vec![Algorithm::HS256], ..Auth::default() };
        let known = mounted::with_keys(&configured).unwrap();
        let mut keys = Keys { configured, in_force: known.clone(), known, overlap: Overlap::default() };
        let mut look = || {
            let wanted = keys.look(Instant::now()).ok()?;
            if let Some(wanted) = wanted {
                keys.in_force = wanted;
            }
            Some(keys.in_force.jwt.iter().map(|key| key.id.clone().unwrap()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(look().as_deref(), Some("main"));
        write("second", "another secret of 32 bytes or more");
        assert_eq!(look().as_deref(), Some("second main"));
        write("third", "-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----");
        assert_eq!(look(), None, "nothing changes while one of them does not read");
        remove("third");
        remove("main");
        assert_eq!(look().as_deref(), Some("second"));
    }
}
