//! One peer without a world: session and audio joined, told the time.
