//! What the documents promise: every command in them runs, every configuration is taken, every link leads somewhere.
//!
//! | file | what is in it |
//! |---|---|
//! | [`commands`], [`configurations`], [`links`] | what is checked of them |
//! | [`deletions`], [`threats`] | the tables of who deletes what, and of threats |
//! | [`architecture`] | the arrows between folders and files |
//! | [`folders`] | the tables of files at the heads of folders |
//! | [`pages`] | the documents, taken apart: fenced blocks, code in the text, headings, links |
//! | [`scene`] | a folder in which a document's commands run, with what it takes for given |
//!
//! How a block is tested is said by the words after its fence; `docs/testing.md` has the list.
#![allow(missing_docs)]

mod architecture;
mod commands;
mod configurations;
mod deletions;
mod folders;
mod links;
mod pages;
mod scene;
mod threats;
