//! Notes and checkpoints as other programs read and write them.

use proptest::prelude::*;
use protocol::SecretKey;
use protocol::ids::PublicKey;

use super::world::{lived, sequencer};
use crate::checkpoint::{Checkpoint, CheckpointError, log_key, origin, signed_checkpoint};
use crate::hash::Hash;
use crate::note::{Algorithm, Cosignature, Note, NoteError, NoteKey};

/// From the documentation of golang.org/x/mod/sumdb/note.
const KNOWN: &str = "\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

fn known_key() -> NoteKey {
    use base64::Engine;
    let key = base64::engine::general_purpose::STANDARD
        .decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        .unwrap();
    NoteKey::signer("PeterNeumann".into(), PublicKey(key[1..].try_into().unwrap()))
}

#[test]
fn a_note_of_another_program_is_verified() {
    let key = known_key();
    assert_eq!(hex::encode(key.id()), "c74f20a3");
    let note = Note::parse(KNOWN).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_string(), KNOWN);
    let changed = Note::parse(&KNOWN.replace("answer", "ANSWER")).unwrap();
    assert!(matches!(changed.verify(&key), Err(NoteError::Signature(_))));
    let other = NoteKey::signer("PaulNeumann".into(), key.key);
    assert_eq!(note.verify(&other), Err(NoteError::Unsigned("PaulNeumann".into())));
    let witness = NoteKey { algorithm: Algorithm::Cosignature, ..key };
    assert_eq!(note.verify(&witness), Err(NoteError::Unsigned("PeterNeumann".into())));
}

#[test]
fn what_is_no_note_is_refused() {
    for note in [
        "",
        "\n",
        "text\n",
        "text\n\n",
        "text\n\nPeter x08go/ZJ\n",
        "text\n\n\u{2014} Peter\n",
        "text\n\n\u{2014} Pe+er x08go/ZJkuA=\n",
        "text\n\n\u{2014} Peter x08go/==\n",
        "text\n\n\u{2014} Peter x08go/ZJkuA\n",
        "text\r\n\n\u{2014} Peter x08go/ZJkuA=\n",
        "text\n\n\u{2014} Peter x08go/ZJkuA=",
    ] {
        assert!(Note::parse(note).is_err(), "{note:?}");
    }
    assert!(Note::parse("text\n\n\u{2014} Peter x08go/ZJkuA=\n").is_ok());
    let endless = format!("{}\n\n\u{2014} Peter x08go/ZJkuA=\n", "a".repeat(20_000));
    assert_eq!(Note::parse(&endless), Err(NoteError::TooLong));
}

#[test]
fn a_checkpoint_is_a_signed_note() {
    let world = lived();
    let header = world.chain.head();
    let note = signed_checkpoint(header, &sequencer());
    let key = log_key(header.chain, sequencer().public());
    let read = Note::parse(&note.to_string()).unwrap();
    let checkpoint = Checkpoint::verified(&read, &key).unwrap();
    assert_eq!(checkpoint, Checkpoint::of(header));
    assert_eq!((checkpoint.size, checkpoint.root), (header.log_size, header.entries_root));
    assert_eq!(checkpoint.origin, format!("stratos/{}", "07".repeat(16)));
    let other = log_key(header.chain, SecretKey::from_seed([1; 32]).public());
    assert!(Checkpoint::verified(&read, &other).is_err());
    // A key may sign notes of other logs as well.
    let elsewhere = NoteKey { name: "stratos/other".into(), ..key };
    let text = "stratos/other text that is long enough\n".to_owned();
    let foreign = crate::note::signed(text, elsewhere.name.clone(), &sequencer());
    assert_eq!(Checkpoint::verified(&foreign, &elsewhere), Err(CheckpointError::Text));
}

#[test]
fn checkpoint_bytes_do_not_change() {
    let checkpoint = Checkpoint {
        origin: origin(protocol::ChainId([1; 16])),
        size: 6,
        root: Hash([5; 32]),
        block: Hash([6; 32]),
    };
    let name = format!("stratos/{}", "01".repeat(16));
    let root = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
    let block = "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=";
    assert_eq!(checkpoint.to_string(), format!("{name}\n6\n{root}\n{block}\n"));
    let mut note = crate::note::signed(checkpoint.to_string(), name.clone(), &sequencer());
    let witness = SecretKey::from_seed([60; 32]);
    let seen = Cosignature::new(&note.text, 1_679_315_147, &witness);
    note.signatures.push(seen.line(witness.public()));
    let text = note.to_string();
    assert!(text.contains(&format!("\n\n\u{2014} {name} ")) && text.ends_with('\n'));
    assert_eq!(&blake3::hash(text.as_bytes()).to_hex()[..32], "7dbd3fa3de858b7e0367bbd84faed1bc");
}

#[test]
fn a_cosignature_stands_for_one_time_and_text() {
    let witness = SecretKey::from_seed([60; 32]);
    let (key, text) = (NoteKey::witness(witness.public()), "stratos/01\n6\nAAAA\n");
    let seen = Cosignature::new(text, 1_679_315_147, &witness);
    let note = Note { text: text.into(), signatures: vec![seen.line(witness.public())] };
    assert_eq!(note.cosignature(&key), Ok(seen));
    assert!(note.verify(&key).is_err(), "it is no signature of the text alone");
    assert_eq!(note.signatures[0].signature.len(), 72);
    let later = Cosignature { time_s: seen.time_s + 1, ..seen };
    assert!(later.verify(witness.public(), text).is_err());
    let mut never = note.clone();
    never.signatures[0].signature[0] = 0x80;
    assert!(matches!(never.cosignature(&key), Err(NoteError::Form(_))));
}

#[test]
fn a_head_has_one_spelling() {
    let root = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
    let good = &format!("stratos/01\n6\n{root}\nBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=\n");
    assert!(Checkpoint::parse(good).is_ok());
    for bad in [
        good.replace("\n6\n", "\n06\n"),
        good.replace("\n6\n", "\n+6\n"),
        good.replace("QU=", "QV="),
        good.replace("QU=\n", "QU="),
        good.replace("gY=\n", "gY="),
        format!("stratos/01\n6\n{root}\n"),
        good.to_owned() + "more\n",
        good[11..].to_owned(),
    ] {
        assert_eq!(Checkpoint::parse(&bad), Err(CheckpointError::Text), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_note_or_refused(text in "(\\PC|\n){0,60}", lines in prop::collection::vec("(\u{2014} )?[a-z+]{0,4} [A-Za-z0-9+/=]{0,16}", 0..4)) {
        let note = format!("{text}\n\n{}\n", lines.join("\n"));
        if let Ok(parsed) = Note::parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }

    #[test]
    fn a_note_reads_back(
        text in "[a-z \u{e4}\u{2014}\n]{0,60}",
        name in "[a-z/.\u{e4}]{1,20}",
        id in any::<[u8; 4]>(),
        signature in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let line = crate::note::Line { name, id, signature };
        let note = Note { text: text + "\n", signatures: vec![line.clone(), line] };
        prop_assert_eq!(Note::parse(&note.to_string()), Ok(note));
    }
}
