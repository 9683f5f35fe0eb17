//! Level and length of what was converted.

use voicemesh_resample::{Converter, clip};

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
}

#[test]
fn a_stream_keeps_its_level_and_its_length_at_every_common_rate() {
    for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000] {
        for (from, to) in [(rate, 48_000), (48_000, rate)] {
            let mut converter = Converter::new(from, to).unwrap().expect("the rates differ");
            let (chunk_in, chunk_out) = (converter.chunk_in(), converter.chunk_out());
            assert_eq!(
                chunk_in as u64 * u64::from(to),
                chunk_out as u64 * u64::from(from),
                "{from} to {to}"
            );
            assert!(
                chunk_in as u32 <= from / 25,
                "{from} to {to}: chunks of {chunk_in} are too long"
            );
            let mut out = Vec::new();
            let tone: Vec<f32> = (0..from)
                .map(|at| (std::f32::consts::TAU * (at * 500 % from) as f32 / from as f32).sin())
                .collect();
            for chunk in tone.chunks_exact(chunk_in) {
                out.extend_from_slice(converter.convert(chunk));
            }
            let found = power(&out[out.len() / 4..out.len() * 3 / 4]);
            assert!((found - 0.5).abs() < 0.01, "{from} to {to}: power {found}");
        }
    }
}

#[test]
fn a_clip_of_an_odd_rate_keeps_its_length() {
    let converted = clip(vec![0.5; 12_345], 44_101, 48_000).unwrap();
    assert_eq!(converted.len(), (12_345.0_f64 * 48_000.0 / 44_101.0).ceil() as usize);
}

#[test]
fn the_same_rate_is_not_converted() {
    assert!(Converter::new(48_000, 48_000).unwrap().is_none());
    assert_eq!(clip(vec![0.1, 0.2], 48_000, 48_000).unwrap(), [0.1, 0.2]);
}
