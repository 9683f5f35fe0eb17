//! `voicemesh-hear spoken.wav heard.wav [--cut-ms N]`: prints how well the one is heard in the
//! other; exit 1 under the floor.

use std::path::Path;
use std::process::ExitCode;

use voicemesh_tests::hear::{Floor, compare_with_cut};
use voicemesh_tests::wav;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<String>>()) {
        Ok(verdict) => verdict,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let usage = "usage: voicemesh-hear spoken.wav heard.wav [--cut-ms N]";
    let (spoken, heard, cut_ms) = match arguments {
        [spoken, heard] => (spoken, heard, 0.0),
        [spoken, heard, flag, cut_ms] if flag == "--cut-ms" => {
            (spoken, heard, cut_ms.parse().map_err(|_| format!("--cut-ms {cut_ms}: not a number"))?)
        }
        _ => return Err(usage.to_owned()),
    };
    let hearing =
        compare_with_cut(&wav::read(Path::new(spoken))?, &wav::read(Path::new(heard))?, cut_ms);
    println!("{hearing}");
    match hearing.verdict(&Floor::default()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(sentence) => {
            eprintln!("not heard: {sentence}");
            Ok(ExitCode::FAILURE)
        }
    }
}
