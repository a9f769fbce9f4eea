//! Real LanceDB clients of several versions, and what each sees of its tables before and after somebody maintained them.
//!
//! | file | what is in it |
//! |---|---|
//! | [`client`] | a program of `tests/python/clients/`, in the environment of one version |
//! | [`answers`] | what is wrong with its answers, and whether that is so without maintenance, too |
//! | [`hand`] | Squire's commands, and what they say that they did to each table |
//! | [`matrix`] | what came of it, by version and step |

pub mod answers;
pub mod client;
pub mod hand;
pub mod matrix;
