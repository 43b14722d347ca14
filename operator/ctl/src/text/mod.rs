//! Text for people: spans of time and counts, and trees that fit a terminal. Pure: the time, the width and the colours are
//! arguments.

pub mod span;
pub mod tree;

pub use span::{ago, count, left, many, span};
pub use tree::{Branch, Cell, Glyphs, Style, Tone, render};
