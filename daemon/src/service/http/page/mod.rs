//! The status page, `/`: one document without anything from elsewhere, which polls `/api/v1` every two seconds, and
//! every 15 seconds while it is hidden.
//!
//! | file | what is in it |
//! |---|---|
//! | [`document`] | puts the document together from the files beside it, and serves it |
//! | `head.html`, `body.html`, `style.css` | the frame; the duties that can be asked for are listed in `body.html` |
//! | `app.js`, `api.js` | the rounds; what the daemon is asked |
//! | `tables.js`, `rows.js`, `panels.js`, `spark.js` | tables, and everything around them |
//! | `acts.js`, `text.js` | what a user does; numbers and times as text |

mod document;

pub(super) use self::document::router;
