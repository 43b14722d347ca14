//! The images that tests need beside Throng's own, from programs of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::image::Image;
use crate::process::{installed, run};

/// A shell with the usual tools; also what keeps the namespaces of Pods open.
pub const TOOLS: &str = "throng.test/tools:1";
/// Redis and etcd.
pub const STORES: &str = "throng.test/stores:1";
/// The same under the names that the chart has for a trial, so that its lines run here as they stand in the README.
pub const TRIAL: [&str; 2] = ["redis:7.2", "quay.io/coreos/etcd:v3.5.21"];
/// Throng under another name, for tests of releases.
pub const NEXT: &str = "throng:next";
/// Throng of the commit before.
pub const PREVIOUS: &str = "throng:previous";
/// Who programs in images run as.
pub const USER: u32 = 65532;

/// The image [`TOOLS`].
pub fn tools() -> Result<Image> {
    let mut image = Image::new(TOOLS).entrypoint(&["/bin/busybox", "sleep", "2147483647"]);
    image.add("bin/busybox", &program("busybox")?, 0o755)?;
    for name in ["sh", "sleep", "cat", "ls", "wget", "nslookup", "nc", "httpd", "id"] {
        image.link(&format!("bin/{name}"), "busybox");
    }
    Ok(image)
}

/// The image [`STORES`], or one of [`TRIAL`]: what to run is said by the Pod.
pub fn stores(reference: &str) -> Result<Image> {
    let mut image = Image::new(reference).user(USER);
    for name in ["redis-server", "redis-cli", "etcd"] {
        add_with_libraries(&mut image, &format!("usr/bin/{name}"), &program(name)?)?;
    }
    Ok(image)
}

/// Throng from one binary. A static one needs nothing else; one that is linked dynamically, as builds for tests are, brings its
/// libraries. `authorities` is a file of certificates to trust, for Redis and etcd over TLS without an authority of their own.
pub fn throng(reference: &str, binary: &Path, authorities: Option<&Path>) -> Result<Image> {
    let mut image = Image::new(reference)
        .entrypoint(&["/bin/throng"])
        .user(USER)
        .label("org.opencontainers.image.title", "throng")
        .label("org.opencontainers.image.version", reference.rsplit(':').next().unwrap_or_default())
        .label("org.opencontainers.image.licenses", "Apache-2.0");
    add_with_libraries(&mut image, "bin/throng", binary)?;
    if let Some(file) = authorities {
        image.add("etc/ssl/certs/ca-certificates.crt", file, 0o644)?;
    }
    Ok(image)
}

/// Whether a binary needs no libraries.
pub fn is_static(binary: &Path) -> Result<bool> {
    Ok(libraries(binary)?.is_empty())
}

fn add_with_libraries(image: &mut Image, path: &str, binary: &Path) -> Result<()> {
    image.add(path, binary, 0o755)?;
    for library in libraries(binary)? {
        let place = library.display().to_string();
        image.add(place.trim_start_matches('/'), &library, 0o755)?;
    }
    Ok(())
}

/// The libraries that a binary is linked with, as the system's loader finds them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    match run(Command::new("ldd").env("LC_ALL", "C").arg(binary)) {
        Ok(text) => Ok(paths(&text)),
        // `ldd` fails for what is not linked dynamically, and says so.
        Err(error) if error.to_string().contains("not a dynamic executable") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Lines are `name => /path (0x1)` or `/path (0x1)`; one without a path is the kernel's.
fn paths(text: &str) -> Vec<PathBuf> {
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

fn program(name: &str) -> Result<PathBuf> {
    installed(name).with_context(|| format!("{name} is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_the_loader_says() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0000)\n\t/lib64/ld-linux-x86-64.so.2 (0x1)\n";
        assert_eq!(paths(text), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert_eq!(paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_images_of_a_trial_are_those_of_the_chart() {
        let values = std::fs::read_to_string(crate::api::repository().join("helm/throng/values.yaml")).unwrap();
        let (_, trial) = values.split_once("\nquickstart:\n").unwrap();
        let named: Vec<_> = trial.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        assert_eq!(named, TRIAL);
    }

    /// Nothing else here builds by it.
    #[test]
    fn the_dockerfile_makes_the_same_image() {
        let file = std::fs::read_to_string(crate::api::repository().join("Dockerfile")).unwrap();
        let image = file.split_once("FROM scratch").unwrap().1;
        let expected = [
            "COPY --from=build /usr/local/bin/throng /bin/throng".to_owned(),
            "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt".to_owned(),
            format!("USER {USER}:{USER}"),
            "ENTRYPOINT [\"/bin/throng\"]".to_owned(),
        ];
        assert_eq!(image.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(), expected);
        let compiler = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
        assert!(file.contains(compiler), "the compiler is that of the workspace: {compiler}");
        assert!(file.contains(concat!("throng:", env!("CARGO_PKG_VERSION"), " .")), "the version of the workspace");
    }

    #[test]
    fn what_brings_no_libraries_is_static() {
        let own = std::env::current_exe().unwrap();
        assert!(!is_static(&own).unwrap());
    }
}
