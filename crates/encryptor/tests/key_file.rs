//! A key file is private from its first byte, and changes as one step.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

use std::{fs, path::Path};

use integrations_core::value::KeyId;
use integrations_encryptor::{KeyFile, KeyFileError, KeyRing, KeyRingError, SystemEntropy};
use tempfile::TempDir;

fn ring() -> KeyRing {
    KeyRing::generate(&SystemEntropy::new()).unwrap()
}

fn ids(ring: &KeyRing) -> Vec<KeyId> {
    ring.ids().cloned().collect()
}

fn created(folder: &TempDir) -> (KeyFile, KeyRing) {
    let file = KeyFile::new(folder.path().join("keys"));
    let keys = ring();
    file.create(&keys).unwrap();
    (file, keys)
}

#[test]
fn default_path_prefers_xdg_and_ignores_relative_folders() {
    let path = |xdg: Option<&str>, home: Option<&str>| {
        KeyFile::default_path(xdg.map(Path::new), home.map(Path::new))
    };
    let absolute = if cfg!(windows) { "C:\\u" } else { "/u" };
    let below = |parts: &[&str]| {
        Some(
            parts
                .iter()
                .fold(Path::new(absolute).to_owned(), |p, s| p.join(s)),
        )
    };
    assert_eq!(path(Some(absolute), None), below(&["integrations", "keys"]));
    assert_eq!(
        path(None, Some(absolute)),
        below(&[".config", "integrations", "keys"])
    );
    assert_eq!(
        path(Some("relative"), Some(absolute)),
        below(&[".config", "integrations", "keys"])
    );
    assert_eq!(path(Some(""), None), None);
    assert_eq!(path(None, None), None);
}

#[test]
fn a_new_file_is_loaded_again_and_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let (file, keys) = created(&folder);
    assert_eq!(ids(&file.load().unwrap()), ids(&keys));
    assert!(matches!(file.create(&ring()), Err(KeyFileError::Exists(_))));
    assert_eq!(ids(&file.load().unwrap()), ids(&keys));
}

#[test]
fn a_missing_file_is_named() {
    let folder = TempDir::new().unwrap();
    let file = KeyFile::new(folder.path().join("keys"));
    let error = file.load().unwrap_err();
    assert!(matches!(error, KeyFileError::NotFound(_)));
    assert!(error.to_string().contains("keys"), "{error}");
    let error = file
        .update(|keys| keys.add(&SystemEntropy::new()))
        .unwrap_err();
    assert!(matches!(error, KeyFileError::NotFound(_)), "{error}");
}

#[test]
fn adding_and_promoting_change_the_file() {
    let folder = TempDir::new().unwrap();
    let (file, keys) = created(&folder);
    let new = file.update(|keys| keys.add(&SystemEntropy::new())).unwrap();
    assert_eq!(
        ids(&file.load().unwrap()),
        [ids(&keys), vec![new.clone()]].concat()
    );
    file.update(|keys| keys.promote(&new)).unwrap();
    assert_eq!(ids(&file.load().unwrap()), [vec![new], ids(&keys)].concat());
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_failed_change_leaves_the_file_as_it_was() {
    let folder = TempDir::new().unwrap();
    let (file, keys) = created(&folder);
    let before = fs::read(file.path()).unwrap();
    let primary = ids(&keys).remove(0);
    let error = file.update(|keys| keys.remove(&primary)).unwrap_err();
    assert!(matches!(
        error,
        KeyFileError::Keys {
            error: KeyRingError::IsPrimary(_),
            ..
        }
    ));
    assert_eq!(fs::read(file.path()).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn two_changes_at_once_are_refused() {
    let folder = TempDir::new().unwrap();
    let (file, _) = created(&folder);
    file.update(|_| {
        let inner = file.update(|keys| keys.add(&SystemEntropy::new()));
        assert!(matches!(inner, Err(KeyFileError::Locked(_))));
        Ok(())
    })
    .unwrap();
    assert_eq!(file.load().unwrap().ids().count(), 1);
}

#[test]
fn errors_show_nothing_of_the_content() {
    let folder = TempDir::new().unwrap();
    let (file, _) = created(&folder);
    fs::write(file.path(), "CanaryCanaryCanary").unwrap();
    let error = file.load().unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(matches!(
        error,
        KeyFileError::Keys {
            error: KeyRingError::NoId { entry: 1 },
            ..
        }
    ));
    assert!(!shown.contains("Canary"), "{shown}");
}

#[test]
fn a_folder_or_a_huge_file_is_refused() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(
        KeyFile::new(folder.path()).load(),
        Err(KeyFileError::NotRegular(_))
    ));
    let (file, _) = created(&folder);
    fs::write(file.path(), "#".repeat(65 * 1024)).unwrap();
    assert!(matches!(file.load(), Err(KeyFileError::TooLarge(_))));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_and_new_folders_are_private() {
        let folder = TempDir::new().unwrap();
        let file = KeyFile::new(folder.path().join("a/b/keys"));
        file.create(&ring()).unwrap();
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
        file.update(|keys| keys.add(&SystemEntropy::new())).unwrap();
        assert_eq!(mode(file.path()), 0o600);
    }

    #[test]
    fn a_file_that_others_can_access_is_refused_and_says_what_helps() {
        let folder = TempDir::new().unwrap();
        let (file, _) = created(&folder);
        for exposed in [0o640, 0o604, 0o620, 0o610, 0o601, 0o666] {
            set_mode(file.path(), exposed);
            let error = file.load().unwrap_err();
            assert!(
                matches!(error, KeyFileError::Exposed(_)),
                "{exposed:o}: {error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set_mode(file.path(), 0o400);
        file.load().unwrap();
    }

    #[test]
    fn a_link_is_followed_for_reading_and_judged_by_its_target_but_never_replaced() {
        let folder = TempDir::new().unwrap();
        let (file, _) = created(&folder);
        let link = folder.path().join("link");
        symlink(file.path(), &link).unwrap();
        let link = KeyFile::new(link);
        link.load().unwrap();
        let changed = link.update(|keys| keys.add(&SystemEntropy::new()));
        assert!(matches!(changed, Err(KeyFileError::NotRegular(_))));
        assert!(matches!(link.create(&ring()), Err(KeyFileError::Exists(_))));
        set_mode(file.path(), 0o644);
        assert!(matches!(link.load(), Err(KeyFileError::Exposed(_))));
    }
}
