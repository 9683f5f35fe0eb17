class Voicemesh < Formula
  desc "Peer-to-peer voice in a terminal"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/voicemesh-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/voicemesh-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin@"
    end
  end

  on_linux do
    depends_on "alsa-lib"

    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/voicemesh-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-gnu@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/voicemesh-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-gnu@"
    end
  end

  def install
    bin.install "voicemesh"
    doc.install "README.md", "CHANGELOG.md", "cli.md", "troubleshooting.md"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/voicemesh --version")
  end
end
