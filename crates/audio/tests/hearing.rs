//! From a microphone's blocks to a listener's, through the real codec, with a virtual clock.

use std::{f32::consts::TAU, time::Duration};

use audiopus::{Channels, SampleRate, coder::Decoder};
use proptest::prelude::*;
use voicemesh_audio::{
    BLOCK_SAMPLES, Block, FrameDuration,
    decode::{Rendered, VoiceDecoder},
    encode::{SpeechConfig, VoiceEncoder},
    level::rms_dbfs,
};

/// Something like a voice: a gliding pitch with harmonics, in syllables of 250 ms with pauses
/// between.
fn voice(blocks: usize) -> Vec<Block> {
    let mut phase = 0.0f32;
    let sample = |index: usize, phase: &mut f32| {
        let seconds = index as f32 / 48_000.0;
        *phase = (*phase + (140.0 + 30.0 * (TAU * 0.7 * seconds).sin()) / 48_000.0).fract();
        let syllable = (TAU * 2.0 * seconds).sin().max(0.0);
        let tone: f32 = (1..12).map(|k| (TAU * *phase * k as f32).sin() / k as f32).sum();
        0.3 * syllable * tone
    };
    (0..blocks)
        .map(|block| std::array::from_fn(|i| sample(block * BLOCK_SAMPLES + i, &mut phase)))
        .collect()
}

/// Encodes `said`, delivers each frame with 30 ms of delay unless `lost` says otherwise, and
/// renders until all is heard.
fn converse(
    said: &[Block],
    config: SpeechConfig,
    lost: impl Fn(u64) -> bool,
) -> (Vec<Block>, VoiceDecoder) {
    let mut speech = VoiceEncoder::new(config).expect("valid settings");
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut on_the_way: Vec<(Duration, u64, Vec<u8>)> = Vec::new();
    let mut sequence = 0;
    let mut heard = Vec::new();
    for tick in 0..said.len() as u64 + 40 {
        let now = Duration::from_millis(10 * tick);
        if let Some(block) = said.get(tick as usize)
            && let Some(frame) = speech.push(block).expect("encodes")
        {
            if !lost(sequence) {
                on_the_way.push((now + Duration::from_millis(30), sequence, frame.to_vec()));
            }
            sequence += 1;
        }
        while on_the_way.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, sequence, frame) = on_the_way.remove(0);
            listener.receive(now, sequence, 0, false, &frame);
        }
        let mut out = [0.0; BLOCK_SAMPLES];
        listener.render(now, &mut out);
        heard.push(out);
    }
    (heard, listener)
}

/// The best normalised correlation of what was said with what was heard up to 300 ms later, and
/// that delay in samples.
fn correlation(said: &[Block], heard: &[Block]) -> (f32, usize) {
    let (said, heard) = (said.as_flattened(), heard.as_flattened());
    let at = |lag: usize| {
        let pairs = || said.iter().zip(&heard[lag..]);
        let product: f64 = pairs().map(|(a, b)| f64::from(a * b)).sum();
        let energy: f64 = pairs().map(|(a, _)| f64::from(a * a)).sum();
        let energy_heard: f64 = pairs().map(|(_, b)| f64::from(b * b)).sum();
        (product / (energy * energy_heard).sqrt()) as f32
    };
    let coarse = (0..14_400).step_by(8).max_by(|a, b| at(*a).total_cmp(&at(*b))).expect("lags");
    let best = (coarse.saturating_sub(8)..coarse + 8)
        .max_by(|a, b| at(*a).total_cmp(&at(*b)))
        .expect("lags");
    (at(best), best)
}

/// `said`, encoded and decoded frame by frame.
fn decoded(said: &[Block], config: SpeechConfig) -> Vec<Block> {
    let mut speech = VoiceEncoder::new(config).expect("valid settings");
    let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Mono).expect("a decoder");
    let mut samples = Vec::new();
    for block in said {
        if let Some(frame) = speech.push(block).expect("encodes") {
            let mut pcm = vec![0.0; config.frame.samples()];
            let packet = frame.try_into().expect("not empty");
            let signals = (&mut pcm[..]).try_into().expect("not too long");
            decoder.decode_float(Some(packet), signals, false).expect("decodes");
            samples.extend(pcm);
        }
    }
    samples.as_chunks().0.to_vec()
}

/// proves: D-21
#[test]
fn frames_of_10_20_40_and_60_ms_are_heard_as_they_were_said() {
    let said = voice(200);
    for frame in FrameDuration::ALL {
        // Copies for lost frames would take their bits from the waveform, most of all in short
        // frames.
        let config = SpeechConfig { frame, expected_loss_percent: 0, ..SpeechConfig::default() };
        let (heard, listener) = converse(&said, config, |_| false);
        // What the codec alone makes of it, without a network between; the delay takes a second to
        // settle.
        let (likeness, delay) = correlation(&decoded(&said, config)[100..], &heard[100..]);
        assert!(likeness > 0.99, "{frame:?}: correlation {likeness}");
        let delay_ms = delay as u64 / 48;
        // The frame itself, the network's 30 ms, and the buffer; one block is rendered while it is
        // said.
        let most = frame.millis() + 30 + 30 - 10;
        assert!(delay_ms <= most, "{frame:?}: {delay_ms} ms, at most {most}");
        let level = rms_dbfs(heard.as_flattened()) - rms_dbfs(said.as_flattened());
        assert!(level.abs() < 2.0, "{frame:?}: level differs by {level} dB");
        let stats = listener.stats();
        assert_eq!(stats.frames_heard, 200 / frame.blocks() as u64, "{frame:?}");
        assert_eq!(
            stats.frames_concealed + stats.frames_invalid + stats.frames_late,
            0,
            "{stats:?}"
        );
    }
}

/// proves: D-21
#[test]
fn a_frame_is_one_opus_packet_of_the_duration_asked_for() {
    for frame in FrameDuration::ALL {
        let mut speech = VoiceEncoder::new(SpeechConfig { frame, ..SpeechConfig::default() })
            .expect("valid settings");
        let blocks = voice(60);
        let lengths: Vec<usize> = blocks
            .iter()
            .filter_map(|block| {
                let packet = speech.push(block).expect("encodes")?;
                let samples = audiopus::packet::nb_samples(
                    packet.try_into().expect("not empty"),
                    audiopus::SampleRate::Hz48000,
                );
                assert_eq!(samples, Ok(frame.samples()));
                Some(packet.len())
            })
            .collect();
        assert_eq!(lengths.len(), 60 / frame.blocks());
        let bits_per_second = 8.0 * lengths.iter().sum::<usize>() as f64 / 0.6;
        assert!(
            (10_000.0..45_000.0).contains(&bits_per_second),
            "{frame:?}: {bits_per_second} bit/s"
        );
    }
}

#[test]
fn a_listener_may_hear_frames_of_changing_duration() {
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut out = [0.0; BLOCK_SAMPLES];
    let mut now = Duration::ZERO;
    for (sequence, frame) in FrameDuration::ALL.into_iter().cycle().take(40).enumerate() {
        let mut speech = VoiceEncoder::new(SpeechConfig { frame, ..SpeechConfig::default() })
            .expect("valid settings");
        let mut packet = None;
        for block in voice(frame.blocks()) {
            packet = speech.push(&block).expect("encodes").map(<[u8]>::to_vec);
        }
        listener.receive(now, sequence as u64, 0, false, &packet.expect("a whole frame"));
        for _ in 0..frame.blocks() {
            listener.render(now, &mut out);
            now += Duration::from_millis(10);
        }
    }
    assert!(listener.stats().frames_heard >= 38, "{:?}", listener.stats());
    assert_eq!(listener.stats().frames_invalid, 0);
}

#[test]
fn at_ten_percent_loss_speech_is_repaired_from_the_next_frames() {
    let said = voice(1_000);
    let lost = |sequence| sequence % 10 == 7;
    let (heard, listener) = converse(&said, SpeechConfig::default(), lost);
    let stats = listener.stats();
    assert_eq!(stats.frames_concealed + stats.frames_repaired, 50, "{stats:?}");
    // Frames of silence carry no copy, and need none.
    assert!(stats.frames_repaired >= 25, "{stats:?}");
    // After the delay has grown by the frame that repairs take, what is heard resembles what was
    // said again.
    let later = 500..1_000;
    let (likeness, _) = correlation(&said[later.clone()], &heard[later.start..]);
    assert!(likeness > 0.85, "correlation {likeness}");
}

#[test]
fn a_pause_is_silence_and_speech_after_it_is_heard_again() {
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut out = [1.0; BLOCK_SAMPLES];
    let mut now = Duration::ZERO;
    let mut sequence = 0;
    for talkspurt in 0..3 {
        let said = voice(40);
        for (index, block) in said.iter().enumerate() {
            if let Some(frame) = speech.push(block).expect("encodes") {
                listener.receive(now, sequence, talkspurt, index + 1 == said.len(), frame);
                sequence += 1;
            }
            listener.render(now, &mut out);
            now += Duration::from_millis(10);
        }
        assert!(listener.is_speaking());
        for _ in 0..60 {
            listener.render(now, &mut out);
            now += Duration::from_millis(10);
        }
        assert_eq!(listener.render(now, &mut out), Rendered::Silence);
        assert_eq!(out, [0.0; BLOCK_SAMPLES]);
        assert!(!listener.is_speaking());
    }
    let stats = listener.stats();
    assert_eq!((stats.frames_heard, stats.concealed_ms), (60, 0));
}

#[test]
fn a_surplus_of_delay_is_removed_in_the_pauses_between_syllables() {
    let said = voice(1_000);
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut out = [0.0; BLOCK_SAMPLES];
    let mut held_up = Vec::new();
    let mut loud_jump: f32 = 0.0;
    let mut before: f32 = 0.0;
    for (tick, block) in said.iter().enumerate() {
        let now = Duration::from_millis(10 * tick as u64);
        if let Some(frame) = speech.push(block).expect("encodes") {
            held_up.push((tick as u64 / 2, frame.to_vec()));
        }
        // The network stands still from 2.0 to 2.3 s and then delivers everything.
        if !(200..230).contains(&tick) {
            for (sequence, frame) in held_up.drain(..) {
                listener.receive(now, sequence, 0, false, &frame);
            }
        }
        listener.render(now, &mut out);
        for sample in out {
            if tick > 240 {
                loud_jump = loud_jump.max((sample - before).abs());
            }
            before = sample;
        }
    }
    let stats = listener.stats();
    assert!((240..=320).contains(&stats.accelerated_ms), "{stats:?}");
    assert!(stats.buffer_ms <= 60.0, "{stats:?}");
    assert_eq!(stats.frames_late, 0);
    let natural =
        said.as_flattened().windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(loud_jump <= natural * 1.5, "a click of {loud_jump}, the voice itself jumps {natural}");
}

#[test]
fn the_gain_scales_what_is_heard_and_not_the_level_shown() {
    let said = voice(100);
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let (mut full, mut half) =
        (VoiceDecoder::new().expect("a decoder"), VoiceDecoder::new().expect("a decoder"));
    half.set_gain(0.5);
    let (mut loud, mut soft) = ([0.0; BLOCK_SAMPLES], [0.0; BLOCK_SAMPLES]);
    for (tick, block) in said.iter().enumerate() {
        let now = Duration::from_millis(10 * tick as u64);
        if let Some(frame) = speech.push(block).expect("encodes") {
            full.receive(now, tick as u64 / 2, 0, false, frame);
            half.receive(now, tick as u64 / 2, 0, false, frame);
        }
        full.render(now, &mut loud);
        half.render(now, &mut soft);
        assert!(loud.iter().zip(&soft).all(|(loud, soft)| (loud * 0.5 - soft).abs() < 1e-6));
        assert_eq!(full.level_dbfs(), half.level_dbfs());
    }
    half.set_gain(f32::NAN);
    assert_eq!(half.gain(), 0.0, "what is not a number is silence");
}

#[test]
fn what_is_no_opus_is_counted_and_the_speech_around_it_goes_on() {
    let said = voice(100);
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut out = [0.0; BLOCK_SAMPLES];
    for (tick, block) in said.iter().enumerate() {
        let now = Duration::from_millis(10 * tick as u64);
        if let Some(frame) = speech.push(block).expect("encodes") {
            let sequence = tick as u64 / 2;
            let broken = sequence % 10 == 5;
            listener.receive(now, sequence, 0, false, if broken { &[] } else { frame });
            listener.receive(now, sequence, 0, false, &[0; 2_000]);
        }
        listener.render(now, &mut out);
    }
    let stats = listener.stats();
    assert_eq!(stats.frames_invalid, 55, "{stats:?}");
    assert_eq!(stats.frames_received, 45);
    assert!(stats.frames_heard >= 43, "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics_and_never_leaves_the_range_of_sound(
        packets in prop::collection::vec((any::<u8>(), 0..40u64, prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 1..120),
    ) {
        let mut listener = VoiceDecoder::new().expect("a decoder");
        let mut out = [0.0; BLOCK_SAMPLES];
        let mut received = 0;
        for (tick, (toc, ahead, mut bytes, last)) in packets.into_iter().enumerate() {
            let now = Duration::from_millis(10 * tick as u64);
            // Half of them at least begin like a packet of one 20 ms frame.
            if let Some(first) = bytes.first_mut() {
                *first = if toc % 2 == 0 { 0b0111_1000 } else { toc };
            }
            listener.receive(now, tick as u64 + ahead, 0, last, &bytes);
            received += 1;
            listener.render(now, &mut out);
            prop_assert!(out.iter().all(|sample| sample.is_finite()));
        }
        let stats = listener.stats();
        let accounted = stats.frames_received + stats.frames_late + stats.frames_duplicate + stats.frames_invalid;
        prop_assert!(accounted >= received);
    }
}
