//! Configuration in layers: defaults, then a YAML file, then the environment, then flags; the later wins.
//!
//! Environment variables start with `THRONG_`, levels are parted by two underscores: `THRONG_GATEWAY__PING_MS=30000`.
//! Flags are `--set gateway.ping_ms=30000`. A key that nobody knows is an error that names the place it came from.

use std::path::{Path, PathBuf};

use figment::providers::{Env, Format as _, Serialized, Yaml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Start of the names of environment variables that configure a role.
pub const ENV_PREFIX: &str = "THRONG_";

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there.
    #[error("there is no configuration file {0}")]
    NoFile(PathBuf),
    /// A `--set` without a value.
    #[error("--set takes key=value, as in --set gateway.ping_ms=30000; {0:?} is not of that form")]
    Set(String),
    /// Unknown key, wrong type, bad value.
    #[error("configuration: {0}")]
    Invalid(Box<figment::Error>),
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A YAML file, if given; it must exist.
    pub file: Option<PathBuf>,
    /// `key=value` flags, in their order.
    pub sets: Vec<String>,
}

/// Reads a configuration: defaults of `T`, then the sources. `T` refuses unknown keys (`deny_unknown_fields`).
pub fn load<T: Serialize + DeserializeOwned + Default>(sources: &Sources) -> Result<T, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(file) = &sources.file {
        figment = merge_file(figment, file)?;
    }
    // Variables without a section (THRONG_LOG, THRONG_BIN) are not configuration.
    let sections = Env::prefixed(ENV_PREFIX).filter(|key| key.as_str().contains("__"));
    figment = figment.merge(sections.split("__"));
    for set in &sources.sets {
        let (key, value) = set.split_once('=').ok_or_else(|| ConfigError::Set(set.clone()))?;
        // Reading a value cannot fail: what is no number, flag or list is text.
        let value = value.parse().unwrap_or_else(|_| Value::from(value));
        figment = figment.merge(Flag { key, value });
    }
    figment.extract().map_err(|error| ConfigError::Invalid(Box::new(error)))
}

/// One `--set`, which is named as the origin of what is wrong with it.
struct Flag<'a> {
    key: &'a str,
    value: Value,
}

impl Provider for Flag<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("--set {}", self.key)).interpolater(|_: &Profile, keys: &[&str]| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        (self.key, &self.value).data()
    }
}

/// A file whose keys are named as they stand in it, without the profile that the library puts them under.
struct Named<P>(P);

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata().interpolater(|_: &Profile, keys: &[&str]| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.0.data()
    }
}

fn merge_file(figment: Figment, file: &Path) -> Result<Figment, ConfigError> {
    if file.is_file() {
        Ok(figment.merge(Named(Yaml::file_exact(file))))
    } else {
        Err(ConfigError::NoFile(file.to_path_buf()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::io::Write as _;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        name: String,
        gateway: Gateway,
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Gateway {
        max_rate: u32,
        origins: Vec<String>,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { name: "live".into(), gateway: Gateway::default() }
        }
    }

    impl Default for Gateway {
        fn default() -> Self {
            Self { max_rate: 20, origins: Vec::new() }
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = file("name: final\ngateway: {max_rate: 30}\n");
        let sets = vec!["gateway.max_rate=40".into(), "gateway.origins=[\"https://a\", \"https://b\"]".into()];
        let sources = Sources { file: Some(file.path().into()), sets };
        let config: Config = load(&sources).unwrap();
        assert_eq!(config.name, "final");
        assert_eq!(config.gateway, Gateway { max_rate: 40, origins: vec!["https://a".into(), "https://b".into()] });
    }

    #[test]
    fn an_unknown_key_is_named() {
        let file = file("gateway: {max_rat: 30}\n");
        let sources = Sources { file: Some(file.path().into()), sets: Vec::new() };
        let error = load::<Config>(&sources).unwrap_err().to_string();
        assert!(error.contains("max_rat") && error.contains("max_rate"), "{error}");
        assert!(!error.contains("default."), "{error}");
    }

    #[test]
    fn a_key_of_a_file_is_named_as_it_stands_there() {
        for (text, key) in
            [("gateway: {max_rate: many}\n", "gateway.max_rate"), ("gateway: {max_rat: 3}\n", "gateway.max_rat")]
        {
            let file = file(text);
            let sources = Sources { file: Some(file.path().into()), sets: Vec::new() };
            let error = load::<Config>(&sources).unwrap_err().to_string();
            assert!(error.contains(&format!("\"{key}\"")) && !error.contains("default."), "{error}");
        }
    }

    #[test]
    fn a_wrong_type_a_missing_file_and_a_flag_without_value_are_errors() {
        let with = |set: &str| Sources { file: None, sets: vec![set.into()] };
        let wrong = load::<Config>(&with("gateway.max_rate=many")).unwrap_err();
        assert!(matches!(wrong, ConfigError::Invalid(_)));
        assert!(wrong.to_string().ends_with("in --set gateway.max_rate"), "{wrong}");
        assert!(matches!(load::<Config>(&with("gateway.max_rate")), Err(ConfigError::Set(_))));
        let missing = Sources { file: Some("/nowhere/throng.yaml".into()), sets: Vec::new() };
        assert!(matches!(load::<Config>(&missing), Err(ConfigError::NoFile(_))));
    }
}
