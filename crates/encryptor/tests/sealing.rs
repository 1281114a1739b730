//! What is sealed opens in its place, whole, under its key, and nowhere else.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

use integrations_core::{
    encryptor::{DigestPurpose, EncryptionError, Encryptor, SealContext, Sealed, SealedColumn},
    id::Uid,
    value::{KeyId, ProviderKey},
};
use integrations_encryptor::{KeyRing, RingEncryptor, SystemEntropy};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretSlice};

const SECRET: &[u8] = b"canary-7f3a";

fn ring() -> KeyRing {
    KeyRing::generate(&SystemEntropy::new()).unwrap()
}

fn context() -> SealContext {
    SealContext {
        column: SealedColumn::Credentials,
        uid: Uid::from_bits(1),
        provider: ProviderKey::new("acme").unwrap(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn seal(encryptor: &RingEncryptor, context: &SealContext, plaintext: &[u8]) -> Sealed {
    run(encryptor.seal(context, &SecretSlice::from(plaintext.to_vec()))).unwrap()
}

fn open(
    encryptor: &RingEncryptor,
    context: &SealContext,
    text: impl Into<String>,
) -> Result<Vec<u8>, EncryptionError> {
    let opened = run(encryptor.open(context, &Sealed::from_text(text)))?;
    Ok(opened.expose_secret().to_vec())
}

// CRED-01
#[test]
fn what_was_sealed_opens_in_its_place() {
    let encryptor = RingEncryptor::new(ring());
    for plaintext in [&b""[..], SECRET, &vec![0; 100_000]] {
        let sealed = seal(&encryptor, &context(), plaintext);
        assert_eq!(
            open(&encryptor, &context(), sealed.as_str()).unwrap(),
            plaintext
        );
    }
}

// L-CRED-1
#[test]
fn sealing_twice_gives_two_envelopes() {
    let encryptor = RingEncryptor::new(ring());
    assert_ne!(
        seal(&encryptor, &context(), SECRET),
        seal(&encryptor, &context(), SECRET)
    );
}

#[test]
fn every_truncation_is_an_error() {
    let encryptor = RingEncryptor::new(ring());
    let sealed = seal(&encryptor, &context(), SECRET);
    for end in 0..sealed.as_str().len() {
        assert!(
            open(&encryptor, &context(), &sealed.as_str()[..end]).is_err(),
            "cut at {end}"
        );
        assert!(
            open(&encryptor, &context(), &sealed.as_str()[end + 1..]).is_err(),
            "from {end}"
        );
    }
}

#[test]
fn every_other_byte_at_every_position_is_an_error() {
    let encryptor = RingEncryptor::new(ring());
    let sealed = seal(&encryptor, &context(), b"x");
    let original = sealed.as_str().as_bytes();
    for position in 0..original.len() {
        for byte in (0..=0x7f_u8).filter(|byte| *byte != original[position]) {
            let mut changed = original.to_vec();
            changed[position] = byte;
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                open(&encryptor, &context(), changed).is_err(),
                "{byte} at {position}"
            );
        }
    }
}

// W-CRED-1
#[test]
fn a_ciphertext_does_not_open_in_any_other_place() {
    let encryptor = RingEncryptor::new(ring());
    let sealed = seal(&encryptor, &context(), SECRET);
    let other_row = SealContext {
        uid: Uid::from_bits(2),
        ..context()
    };
    let other_provider = SealContext {
        provider: ProviderKey::new("other").unwrap(),
        ..context()
    };
    let other_columns = SealedColumn::ALL
        .into_iter()
        .filter(|column| *column != SealedColumn::Credentials)
        .map(|column| SealContext {
            column,
            ..context()
        });
    for place in [other_row, other_provider].into_iter().chain(other_columns) {
        let opened = open(&encryptor, &place, sealed.as_str());
        assert_eq!(opened, Err(EncryptionError::Rejected), "{place:?}");
    }
}

// W-CRED-1
#[test]
fn ciphertexts_swapped_between_two_rows_do_not_open() {
    let encryptor = RingEncryptor::new(ring());
    let other = SealContext {
        uid: Uid::from_bits(2),
        ..context()
    };
    let (first, second) = (
        seal(&encryptor, &context(), SECRET),
        seal(&encryptor, &other, b"another"),
    );
    assert_eq!(
        open(&encryptor, &context(), second.as_str()),
        Err(EncryptionError::Rejected)
    );
    assert_eq!(
        open(&encryptor, &other, first.as_str()),
        Err(EncryptionError::Rejected)
    );
}

// W-CRED-2
#[test]
fn after_promotion_old_values_open_and_new_ones_name_the_new_key() {
    let mut keys = ring();
    let old = keys.ids().next().unwrap().clone();
    let sealed = seal(&RingEncryptor::new(keys.clone()), &context(), SECRET);
    let new = keys.add(&SystemEntropy::new()).unwrap();
    keys.promote(&new).unwrap();

    let encryptor = RingEncryptor::new(keys.clone());
    assert_eq!(
        open(&encryptor, &context(), sealed.as_str()).unwrap(),
        SECRET
    );
    assert_eq!(seal(&encryptor, &context(), SECRET).key_id(), Some(new));

    keys.remove(&old).unwrap();
    let opened = open(&RingEncryptor::new(keys), &context(), sealed.as_str());
    assert_eq!(opened, Err(EncryptionError::UnknownKey(old)));
}

#[test]
fn the_key_id_of_an_envelope_is_authenticated() {
    // One root under two ids: without the id in the associated data, either name would open it.
    let material = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let keys = KeyRing::parse(&format!("a:{material},b:{material}")).unwrap();
    let encryptor = RingEncryptor::new(keys);
    let sealed = seal(&encryptor, &context(), SECRET);
    let renamed = sealed.as_str().replacen("v1.a.", "v1.b.", 1);
    assert_ne!(renamed, sealed.as_str());
    assert_eq!(
        open(&encryptor, &context(), renamed),
        Err(EncryptionError::Rejected)
    );
}

#[test]
fn another_key_of_the_same_id_is_rejected_and_has_another_check_value() {
    let encryptors = [
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "//////////////////////////////////////////8=",
    ]
    .map(|material| RingEncryptor::new(KeyRing::parse(&format!("k:{material}")).unwrap()));
    let sealed = seal(&encryptors[0], &context(), SECRET);
    let opened = open(&encryptors[1], &context(), sealed.as_str());
    assert_eq!(opened, Err(EncryptionError::Rejected));

    let [first, again, second] = [0, 0, 1].map(|i| run(encryptors[i].key_checks()).unwrap());
    assert_eq!(first, again);
    assert_ne!(first[0].check_value, second[0].check_value);
}

#[test]
fn digests_come_from_every_key_primary_first_and_differ_by_purpose() {
    let mut keys = ring();
    keys.add(&SystemEntropy::new()).unwrap();
    let ids: Vec<KeyId> = keys.ids().cloned().collect();
    let encryptor = RingEncryptor::new(keys);
    let digests = |purpose, data| run(encryptor.digests(purpose, data)).unwrap();

    let fingerprint = digests(DigestPurpose::Fingerprint, b"body");
    assert_eq!(
        fingerprint
            .iter()
            .map(|digest| &digest.key_id)
            .collect::<Vec<_>>(),
        [&ids[0], &ids[1]]
    );
    assert_ne!(fingerprint[0].mac, fingerprint[1].mac);
    assert_eq!(fingerprint, digests(DigestPurpose::Fingerprint, b"body"));
    assert_ne!(fingerprint, digests(DigestPurpose::Fingerprint, b"bodY"));
    assert_ne!(fingerprint, digests(DigestPurpose::CacheKey, b"body"));

    let checks = run(encryptor.key_checks()).unwrap();
    assert_eq!(
        checks.iter().map(|check| check.primary).collect::<Vec<_>>(),
        [true, false]
    );
    assert!(
        checks
            .iter()
            .zip(&ids)
            .all(|(check, id)| check.key_id == *id)
    );
}

// The stored format is a promise: what one version sealed, later ones open. The expected values
// were computed by another implementation of HKDF, HMAC and AES-GCM.
#[test]
fn an_envelope_of_the_first_version_still_opens() {
    let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let encryptor = RingEncryptor::new(keys);
    let sealed = "v1.k1.WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlqlpaWlpaWlpaWlpaWXdIEBh24k_Vhri5grnYaGdEYniutU5PlP14o";
    assert_eq!(open(&encryptor, &context(), sealed).unwrap(), SECRET);

    let digest = run(encryptor.digests(DigestPurpose::Fingerprint, b"body")).unwrap();
    assert_eq!(digest[0].mac[..4], [81, 100, 91, 65]);
    assert_eq!(
        run(encryptor.key_checks()).unwrap()[0].check_value[..4],
        [49, 0, 51, 78]
    );
}

// W-CRED-7
#[test]
fn debug_output_shows_no_secret() {
    let material = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let encryptor = RingEncryptor::new(KeyRing::parse(&format!("k1:{material}")).unwrap());
    let sealed = seal(&encryptor, &context(), SECRET);
    let opened = run(encryptor.open(&context(), &sealed)).unwrap();
    let shown = format!("{encryptor:?} {sealed:?} {opened:?} {:?}", encryptor.keys());
    for secret in [material, "canary", "0, 1, 2", "000102", "99, 97, 110"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("k1"), "{shown}");
}

proptest! {
    #[test]
    fn any_plaintext_round_trips(plaintext: Vec<u8>) {
        let encryptor = RingEncryptor::new(ring());
        let sealed = seal(&encryptor, &context(), &plaintext);
        prop_assert_eq!(open(&encryptor, &context(), sealed.as_str()).unwrap(), plaintext);
    }

    #[test]
    fn no_text_makes_opening_panic(text in "(v1\\.k[.]?)?[A-Za-z0-9_.=-]{0,200}|.*") {
        let encryptor = RingEncryptor::new(ring());
        prop_assert!(open(&encryptor, &context(), text).is_err());
    }

    #[test]
    fn a_context_opens_only_itself(bits: u128, provider in "[a-z][a-z0-9_-]{0,63}") {
        let encryptor = RingEncryptor::new(ring());
        let place = SealContext {
            uid: Uid::from_bits(bits),
            provider: ProviderKey::new(provider).unwrap(),
            ..context()
        };
        let sealed = seal(&encryptor, &context(), SECRET);
        prop_assert_eq!(open(&encryptor, &place, sealed.as_str()).is_ok(), place == context());
    }
}
