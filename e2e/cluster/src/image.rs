//! Container images written without Docker: one layer, no base. The archive is an OCI layout with the list that `docker load`
//! reads, so that Docker, containerd, podman and skopeo all take it. Equal contents make equal bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::tar::Tar;

/// An image that is put together.
#[derive(Debug)]
pub struct Image {
    reference: String,
    config: serde_json::Map<String, Value>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File { data: Vec<u8>, mode: u32 },
    Link(String),
}

impl Image {
    /// An empty image; `reference` is its name with a tag, such as `throng:0.1.0`.
    #[must_use]
    pub fn new(reference: &str) -> Self {
        let mut config = serde_json::Map::new();
        config.insert("Env".into(), json!(["PATH=/bin:/usr/bin"]));
        config.insert("WorkingDir".into(), json!("/"));
        Self { reference: reference.to_owned(), config, entries: BTreeMap::new() }
    }

    /// What it runs; arguments are added to it.
    #[must_use]
    pub fn entrypoint(mut self, line: &[&str]) -> Self {
        self.config.insert("Entrypoint".into(), json!(line));
        self
    }

    /// Who runs it: numbers, so that Kubernetes can tell that it is not root.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.config.insert("User".into(), json!(format!("{id}:{id}")));
        self
    }

    /// Notes for people, such as `org.opencontainers.image.version`.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        if let Some(labels) = self.config.entry("Labels").or_insert_with(|| json!({})).as_object_mut() {
            labels.insert(name.to_owned(), json!(value));
        }
        self
    }

    /// Puts a file of this machine at a path, without the slash at its beginning.
    pub fn add(&mut self, path: &str, source: &Path, mode: u32) -> Result<()> {
        let data = std::fs::read(source).with_context(|| source.display().to_string())?;
        self.entries.insert(path.to_owned(), Entry::File { data, mode });
        Ok(())
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entries.insert(path.to_owned(), Entry::Link(target.to_owned()));
    }

    /// The archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = Blob::new("layer.v1.tar", self.layer()?);
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:00Z", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "throng"}],
        });
        let config = Blob::new("config.v1+json", serde_json::to_vec(&config)?);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type("manifest.v1+json"),
            "config": config.described(), "layers": [layer.described()],
        });
        let manifest = Blob::new("manifest.v1+json", serde_json::to_vec(&manifest)?);
        let mut described = manifest.described();
        if let Some(fields) = described.as_object_mut() {
            let tag = self.reference.rsplit(':').next().unwrap_or_default();
            let names = json!({"io.containerd.image.name": full_name(&self.reference), "org.opencontainers.image.ref.name": tag});
            fields.insert("annotations".into(), names);
            fields.insert("platform".into(), json!({"architecture": architecture(), "os": "linux"}));
        }
        let index = json!({"schemaVersion": 2, "mediaType": media_type("index.v1+json"), "manifests": [described]});
        let list = json!([{"Config": config.path(), "RepoTags": [self.reference], "Layers": [layer.path()]}]);
        let mut tar = Tar::default();
        tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
        tar.file("index.json", &serde_json::to_vec(&index)?, 0o644)?;
        tar.file("manifest.json", &serde_json::to_vec(&list)?, 0o644)?;
        tar.folder("blobs")?;
        tar.folder("blobs/sha256")?;
        for blob in [&config, &manifest, &layer] {
            tar.file(&blob.path(), &blob.data, 0o644)?;
        }
        Ok(tar.finish())
    }

    /// Writes the archive to a file.
    pub fn write(&self, out: &Path) -> Result<()> {
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(out, self.archive()?).with_context(|| out.display().to_string())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Tar::default();
        let mut folders = BTreeSet::new();
        for path in self.entries.keys() {
            folders.extend(path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
        }
        for folder in folders {
            tar.folder(folder)?;
        }
        for (path, entry) in &self.entries {
            match entry {
                Entry::File { data, mode } => tar.file(path, data, *mode)?,
                Entry::Link(target) => tar.link(path, target)?,
            }
        }
        Ok(tar.finish())
    }
}

/// As `docker pull` would complete the name.
fn full_name(reference: &str) -> String {
    match reference.split_once('/') {
        None => format!("docker.io/library/{reference}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
    }
}

/// The name of this machine's processor in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

/// A part of an archive that others name by its sum.
struct Blob {
    kind: &'static str,
    data: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(kind: &'static str, data: Vec<u8>) -> Self {
        Self { kind, digest: digest(&data), data }
    }

    fn described(&self) -> Value {
        json!({"mediaType": media_type(self.kind), "digest": self.digest, "size": self.data.len()})
    }

    fn path(&self) -> String {
        self.digest.replace("sha256:", "blobs/sha256/")
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

/// `sha256:` and the sum in hexadecimal digits.
pub(crate) fn digest(data: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(data) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let file =
            std::env::temp_dir().join(format!("throng-image-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::write(&file, "binary").unwrap();
        let mut image = Image::new("throng:0.1.0").entrypoint(&["/throng"]).user(65532).label("a", "b");
        image.add("throng", &file, 0o755).unwrap();
        image.add("etc/ssl/certs/ca-certificates.crt", &file, 0o644).unwrap();
        image.link("bin/sh", "/throng");
        std::fs::remove_file(file).unwrap();
        image
    }

    /// Path and contents of each file of an archive, read by hand.
    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let (mut at, mut files) = (0, BTreeMap::new());
        while archive[at] != 0 {
            let field = |from: usize, to: usize| {
                let text = archive[at + from..at + to].split(|byte| *byte == 0).next().unwrap();
                String::from_utf8(text.to_vec()).unwrap()
            };
            let size = usize::from_str_radix(&field(124, 135), 8).unwrap();
            let (path, begin) = (field(0, 100), at + 512);
            files.insert(path, archive[begin..begin + size].to_vec());
            at = begin + size.next_multiple_of(512);
        }
        files
    }

    #[test]
    fn every_digest_and_size_is_that_of_what_it_names() {
        let files = files(&image().archive().unwrap());
        let read = |path: &str| serde_json::from_slice::<Value>(&files[path]).unwrap();
        let follow = |descriptor: &Value| {
            let digest_text = descriptor["digest"].as_str().unwrap();
            let data = &files[&digest_text.replace("sha256:", "blobs/sha256/")];
            assert_eq!(digest(data), digest_text);
            assert_eq!(data.len(), usize::try_from(descriptor["size"].as_u64().unwrap()).unwrap());
            data.clone()
        };
        assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
        let index = read("index.json");
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/throng:0.1.0");
        let manifest: Value = serde_json::from_slice(&follow(entry)).unwrap();
        let config: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        let layer = follow(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/throng"]));
        let list = read("manifest.json");
        assert_eq!(list[0]["RepoTags"], json!(["throng:0.1.0"]));
        assert_eq!(list[0]["Layers"], json!([digest(&layer).replace("sha256:", "blobs/sha256/")]));
        assert!(files.contains_key(list[0]["Config"].as_str().unwrap()));
        let inside: Vec<String> = self::files(&layer).into_keys().collect();
        assert_eq!(
            inside,
            ["bin/", "bin/sh", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "throng"]
        );
    }

    #[test]
    fn equal_contents_make_equal_bytes() {
        assert_eq!(image().archive().unwrap(), image().archive().unwrap());
    }

    #[test]
    fn a_name_is_completed_as_docker_does() {
        assert_eq!(full_name("throng:1"), "docker.io/library/throng:1");
        assert_eq!(full_name("live/throng:1"), "docker.io/live/throng:1");
        assert_eq!(full_name("registry.example.com:5000/throng:1"), "registry.example.com:5000/throng:1");
    }
}
