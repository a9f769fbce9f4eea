//! Credentials for S3 that a service manager hands over as files: systemd's `LoadCredential=` keeps them out of the
//! environment, where every process of the same user could read them.

use std::{collections::HashMap, ffi::OsString, path::Path};

/// Where the service manager says that the files are.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The files, called as the variables are whose place they take. They belong together: a key of one identity and the
/// secret of another open nothing.
const FILES: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
/// Another way to say who one is.
const PROFILE: &str = "AWS_PROFILE";

/// What the files say, as options of the store's client. Nothing where the environment says who this is, as it wins, and
/// where there are no files.
///
/// # Errors
/// What is wrong with a file, and its path; never what is in it.
pub(super) fn of_service_manager(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<HashMap<String, String>, String> {
    let mut options = HashMap::new();
    let own = FILES.iter().chain([&PROFILE]);
    let Some(directory) = variable(DIRECTORY) else {
        return Ok(options);
    };
    if own.into_iter().any(|name| variable(name).is_some()) {
        return Ok(options);
    }
    for name in FILES {
        let path = Path::new(&directory).join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                options.insert(name.to_lowercase(), text.trim().to_owned());
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(format!(
                    "the credential {} cannot be read: {e}",
                    path.display()
                ));
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path, own: &[&str]) -> Result<HashMap<String, String>, String> {
        of_service_manager(&|name| match name {
            DIRECTORY => Some(directory.into()),
            name => own.contains(&name).then(|| "own".into()),
        })
    }

    #[test]
    fn files_of_the_service_manager_are_taken_together_unless_the_environment_says_who_this_is() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), &[]).unwrap(), HashMap::new());
        std::fs::write(dir.path().join("AWS_ACCESS_KEY_ID"), "key\n").unwrap();
        std::fs::write(dir.path().join("AWS_SECRET_ACCESS_KEY"), "hush\n").unwrap();
        std::fs::write(dir.path().join("squire-token"), "another's").unwrap();
        let expected = [
            ("aws_access_key_id".to_owned(), "key".to_owned()),
            ("aws_secret_access_key".to_owned(), "hush".to_owned()),
        ];
        assert_eq!(read(dir.path(), &[]).unwrap(), expected.into());
        for own in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            assert_eq!(read(dir.path(), &[own]).unwrap(), HashMap::new(), "{own}");
        }
        assert_eq!(of_service_manager(&|_| None).unwrap(), HashMap::new());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_its_text_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("AWS_SECRET_ACCESS_KEY");
        std::fs::write(&path, b"hush\xff").unwrap();
        let error = read(dir.path(), &[]).unwrap_err();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
