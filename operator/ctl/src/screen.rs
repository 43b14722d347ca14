//! Where the output goes: its form, its colours, its width.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::error::Error;
use crate::text::{Branch, Glyphs, Style, render};

/// Form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A tree for people.
    #[default]
    Tree,
    /// JSON for programs.
    Json,
    /// YAML for programs and people.
    Yaml,
}

/// When colours are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// How to draw on the standard output.
    #[must_use]
    pub fn style(self) -> Style {
        let terminal = std::io::stdout().is_terminal();
        let colour = match self {
            Self::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            Self::Always => true,
            Self::Never => false,
        };
        let width = terminal_size::terminal_size().filter(|_| terminal).map(|(width, _)| usize::from(width.0).max(20));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        let locale = locale.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
        // A pipe takes every character; a terminal those of its locale.
        let unicode = !terminal || locale.contains("utf-8") || locale.contains("utf8");
        Style { width, colour, glyphs: if unicode { Glyphs::Unicode } else { Glyphs::Ascii } }
    }
}

/// Writes data to the standard output. Nobody who reads it any more is no error.
pub fn print(text: &str) {
    let _ = is_read(text);
}

/// Writes data to the standard output; false: nobody reads it any more.
#[must_use]
pub fn is_read(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A value in a form; as a tree it is what `branches` are.
///
/// # Errors
/// The form cannot hold the value.
pub fn show<T: Serialize>(value: &T, branches: &[Branch], format: Format, style: Style) -> Result<String, Error> {
    let unfit = |why: String| Error::Unreadable { what: "the answer".to_owned(), why };
    match format {
        Format::Tree => Ok(render(branches, style)),
        Format::Json => {
            serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| unfit(error.to_string()))
        }
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| unfit(error.to_string())),
    }
}

/// The present, for what is shown of times.
#[must_use]
pub fn now() -> throng_plan::status::Utc {
    throng_plan::status::Utc::of(jiff::Timestamp::now())
}
