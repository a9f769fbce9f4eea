//! Secrets where none may be: refused, and not repeated.

use crate::{assert_says, listed, problem, refused};

#[test]
fn a_token_in_a_file_or_a_variable_of_the_settings_is_refused_and_not_shown() {
    let token = "hush-hush-hush-hush";
    let said = problem(&format!("[daemon]\ntoken = '{token}'"));
    assert!(
        said.starts_with("2:1 daemon.token |") && !said.contains(token),
        "{said}"
    );
    let variables = [("SQUIRE__DAEMON__TOKEN", token)];
    let said = listed(&refused(&[("squire.toml", "")], &variables)).join("\n");
    assert!(
        said.contains("SQUIRE__DAEMON__TOKEN") && !said.contains(token),
        "{said}"
    );
}

#[test]
fn credentials_of_a_target_are_refused_and_not_repeated() {
    let text = "[[target]]\nname = 'a'\nuri = 's3://key:hush@bucket/x'";
    let said = refused(&[("squire.toml", text)], &[]).to_string();
    assert_says(&said, &["squire.toml:3:7: ", "holds credentials"]);
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn a_key_that_would_hold_a_secret_is_refused_with_the_way_to_give_it_and_without_its_value() {
    for text in [
        "[daemon]\ntoken = 'hush'",
        "[daemon]\nPassword = 'hush'",
        "aws_secret_access_key = 'hush'",
        "[[target]]\nname = 'a'\nuri = 'memory://'\naccess-key = 'hush'",
    ] {
        let said = problem(text);
        assert_says(
            &said,
            &[
                "a secret does not belong here",
                "AWS_ACCESS_KEY_ID",
                "LoadCredential=",
            ],
        );
        assert!(!said.contains("hush"), "{said}");
    }
    let error = refused(&[("squire.toml", "")], &[("SQUIRE__DAEMON__TOKEN", "hush")]).to_string();
    assert_says(
        &error,
        &[
            "environment variable SQUIRE__DAEMON__TOKEN: ",
            "SQUIRE_TOKEN",
        ],
    );
    assert!(!error.contains("hush"), "{error}");
}
