//! The message role on a node.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
