use super::*;
use crate::speech;

/// A quiet room: noise at −70 dBFS.
fn quiet_room(seed: u64, samples: usize) -> Vec<f32> {
    Noise::Pink.make(seed, samples).into_iter().map(|sample| sample * 3e-4).collect()
}

/// Two seconds of a quiet room, then a voice in it.
fn voice_in_a_quiet_room(voice: &str) -> (Vec<f32>, usize) {
    let voice = speech::load(voice);
    let begins = 2 * 48_000;
    let mut sound = quiet_room(5, begins + voice.len());
    sound[begins..].iter_mut().zip(voice).for_each(|(room, sample)| *room += sample);
    (sound, begins / BLOCK_SAMPLES)
}

#[test]
fn the_first_syllable_of_every_voice_is_whole_and_what_comes_long_before_it_is_not_sent() {
    for voice in speech::VOICES {
        let (sound, begins) = voice_in_a_quiet_room(voice);
        let speech = speech_frames(&speech::load(voice));
        let onset = begins + speech.iter().position(|speech| *speech).expect("there is speech");
        for processing in [Processing::OFF, Processing::default()] {
            let sent = sent_blocks(&sound, processing);
            let first = (begins.saturating_sub(20)..sent.len())
                .find(|frame| sent[*frame])
                .expect("something is sent");
            assert!(first <= onset, "{voice}: speech begins at {onset}, sending at {first}");
            // A breath before the first word may open it.
            assert!(
                onset - first <= 20,
                "{voice}: sending begins at {first}, speech at {onset} only"
            );
            assert!(
                sent[first..first + 30].iter().all(|sent| *sent),
                "{voice}: no hole behind the look-back"
            );
        }
    }
}

#[test]
fn what_is_sent_without_processing_is_what_was_heard_in_order_without_a_hole() {
    let (sound, _) = voice_in_a_quiet_room("numbers");
    let config = MicrophoneConfig { processing: Processing::OFF, activation: Activation::Voice };
    let mut microphone = Microphone::new(config).expect("valid settings");
    let heard: &[Block] = sound.as_chunks::<BLOCK_SAMPLES>().0;
    let mut sent: Vec<Block> = Vec::new();
    let mut opened_at = None;
    for (index, block) in heard.iter().enumerate() {
        microphone.push(block);
        while let Some(block) = microphone.next_block() {
            sent.push(*block);
        }
        if microphone.is_open() && opened_at.is_none() {
            opened_at = Some(index + 1 - sent.len());
        }
        if opened_at.is_some() && !microphone.is_open() {
            break;
        }
    }
    let from = opened_at.expect("it opens");
    assert_eq!(sent, heard[from..from + sent.len()]);
}

#[test]
fn the_microphone_closes_after_the_hang_over_and_not_before() {
    let (mut sound, begins) = voice_in_a_quiet_room("cards");
    let ends = sound.len() / BLOCK_SAMPLES;
    sound.extend(quiet_room(6, 2 * 48_000));
    let sent = sent_blocks(&sound, Processing::default());
    let last = sent.iter().rposition(|sent| *sent).expect("something is sent");
    let speech_ends =
        (begins..ends).rfind(|frame| speech_frames(&sound)[*frame]).expect("there is speech");
    let after_ms = (last - speech_ends) * 10;
    assert!((200..=500).contains(&after_ms), "sending ends {after_ms} ms after the last word");
}

#[test]
fn in_noise_hardly_any_speech_is_missed_and_little_else_is_sent() {
    for noise in [Noise::White, Noise::Pink, Noise::Brown] {
        let count = count("announcer", noise, 10.0, Processing::default(), 9);
        assert!(count.speech > 500 && count.quiet > 500, "{count:?}");
        assert!(count.missed_percent() <= 2.0, "{noise}: {count:?}");
        assert!(count.false_alarm_percent() <= 5.0, "{noise}: {count:?}");
    }
}

#[test]
fn a_count_adds_up_to_percentages() {
    let mut total = Count { speech: 100, missed: 1, quiet: 50, false_alarms: 5 };
    total += Count { speech: 100, missed: 3, quiet: 50, false_alarms: 0 };
    assert_eq!((total.missed_percent(), total.false_alarm_percent()), (2.0, 5.0));
}
