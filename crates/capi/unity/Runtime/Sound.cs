// Sound for the engine's audio thread. Nothing here waits or takes memory once it runs, and each may be disposed of on another
// thread while it is read: then it is silent.

using System;

namespace Voicemesh
{
    /// <summary>One peer's voice. For one audio thread at a time; while it is open, no speaker plays that peer.</summary>
    public sealed class PeerVoice : IDisposable
    {
        private readonly ulong handle;
        private float[] mono = new float[4096];

        internal PeerVoice(ulong handle) { this.handle = handle; }

        ~PeerVoice() { Native.vmesh_peer_voice_close(handle); }

        /// <summary>Fills the array with the next samples, mono; says how many are sound, behind which is silence. As a clip's
        /// PCMReaderCallback wants it.</summary>
        public int Read(float[] samples) { return Read(samples, samples.Length); }

        /// <summary>For OnAudioFilterRead: multiplies what the AudioSource plays by the voice. Let it play a looped clip of
        /// ones: then its volume, its place and its curve are the voice's.</summary>
        public void Shape(float[] data, int channels)
        {
            var frames = data.Length / channels;
            if (mono.Length < frames)
            {
                mono = new float[frames];
            }
            Read(mono, frames);
            for (var frame = 0; frame < frames; frame++)
            {
                for (var channel = 0; channel < channels; channel++)
                {
                    data[frame * channels + channel] *= mono[frame];
                }
            }
        }

        public void Dispose()
        {
            Native.vmesh_peer_voice_close(handle);
            GC.SuppressFinalize(this);
        }

        private int Read(float[] samples, int count)
        {
            UIntPtr given;
            Native.vmesh_peer_voice_read(handle, samples, (UIntPtr)count, out given);
            return (int)given;
        }
    }

    /// <summary>Everyone together, from where they stand. For one audio thread at a time.</summary>
    public sealed class MixVoice : IDisposable
    {
        private readonly ulong handle;
        private float[] sides = new float[8192];

        internal MixVoice(ulong handle) { this.handle = handle; }

        ~MixVoice() { Native.vmesh_mix_voice_close(handle); }

        /// <summary>Fills the array with the next frames, left and right in turns; says how many frames are sound.</summary>
        public int Read(float[] samples) { return Read(samples, samples.Length / 2); }

        /// <summary>For OnAudioFilterRead: adds everyone to what is played already. With one channel, both sides; with more than
        /// two, to the first two.</summary>
        public void Add(float[] data, int channels)
        {
            var frames = data.Length / channels;
            if (sides.Length < 2 * frames)
            {
                sides = new float[2 * frames];
            }
            Read(sides, frames);
            for (var frame = 0; frame < frames; frame++)
            {
                var left = sides[2 * frame];
                var right = sides[2 * frame + 1];
                if (channels == 1)
                {
                    data[frame] += 0.5f * (left + right);
                }
                else
                {
                    data[frame * channels] += left;
                    data[frame * channels + 1] += right;
                }
            }
        }

        public void Dispose()
        {
            Native.vmesh_mix_voice_close(handle);
            GC.SuppressFinalize(this);
        }

        private int Read(float[] samples, int frames)
        {
            UIntPtr given;
            Native.vmesh_mix_voice_read(handle, samples, (UIntPtr)frames, out given);
            return (int)given;
        }
    }

    /// <summary>A microphone that the game writes: Unity's own Microphone, for example.</summary>
    public sealed class MicrophoneFeed : IDisposable
    {
        private readonly ulong handle;

        internal MicrophoneFeed(ulong handle) { this.handle = handle; }

        ~MicrophoneFeed() { Native.vmesh_microphone_feed_close(handle); }

        /// <summary>Hands over the first samples of an array, mono; says how many there was room for.</summary>
        public int Write(float[] samples, int count)
        {
            if (count < 0 || count > samples.Length)
            {
                throw new ArgumentOutOfRangeException("count", "there are not so many samples");
            }
            UIntPtr taken;
            Native.vmesh_microphone_feed_write(handle, samples, (UIntPtr)count, out taken);
            return (int)taken;
        }

        public void Dispose()
        {
            Native.vmesh_microphone_feed_close(handle);
            GC.SuppressFinalize(this);
        }
    }
}
