// The functions of voicemesh.h for a game: channels, the lobby, places, handles to speak by, and sound.

using System;
using System.Runtime.InteropServices;

namespace Voicemesh
{
    internal static partial class Native
    {
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_channel_open(ulong room, ref PeerId to, byte channel, int reliability);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_channel_close(ulong room, ref PeerId to, byte channel);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_channel_send(ulong room, ref PeerId to, byte channel, IntPtr data, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_close_channels(ulong room, ref PeerId from);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_queued_bytes(ulong room, ref PeerId to, out UIntPtr count);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_flush(ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_owner(ulong room, out PeerId owner);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_set_metadata(ulong room, IntPtr changes, UIntPtr count, out ulong transaction);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_set_room_metadata(ulong room, IntPtr changes, UIntPtr count, out ulong transaction);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_metadata(ulong room, IntPtr of, byte[] key, UIntPtr length, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_held_group(ulong room, IntPtr of, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_safety_code(ulong room, byte[] buffer, UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_options_new_link(byte[] server, UIntPtr serverLength, byte[] room, UIntPtr roomLength,
            byte[] buffer, UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_metadata_key(ulong room, IntPtr of, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_room_metadata(ulong room, byte[] key, UIntPtr length, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_lobby_room_metadata_key(ulong room, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_connect(ulong room, ref PeerId to, byte[] token, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_update(ulong room, ref PeerId to, byte[] token, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_disconnect(ulong room, ref PeerId from);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_allow_unencrypted(ulong room, ref PeerId of, int isAllowed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_level(ulong room, ref PeerId of, out float level, out int speaking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speaker_set_listener(ulong room, ref NativePose pose);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_set_position(ulong room, ref PeerId of, ref Vector position, ref Vector velocity);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_clear_position(ulong room, ref PeerId of);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speaker_set_attenuation(ulong room, int kind, float reference, float max, float rolloff);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_grid_new(byte[] prefix, UIntPtr length, float range, int axes, out ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_move_in(ulong room, ulong grid, ref Vector position);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_leave_grid(ulong room, ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_grid_close(ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_transmit_to_group(ulong room, byte[] name, UIntPtr length, float volume,
            int priority, int positional, out ulong transmission);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_transmit_to_peer(ulong room, ref PeerId to, float volume, int priority,
            int positional, out ulong transmission);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_transmission_set(ulong transmission, float volume, int priority, int positional);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_transmission_close(ulong transmission);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_group_listen(ulong room, byte[] group, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_group_stop_listening(ulong room, byte[] group, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_participant_open_voice(ulong room, ref PeerId of, uint rate, out ulong voice);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speaker_open_mix(ulong room, uint rate, out ulong mix);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_microphone_open_feed(ulong room, uint rate, out ulong microphone);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_peer_voice_read(ulong voice, [Out] float[] samples, UIntPtr count, out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_mix_voice_read(ulong mix, [Out] float[] samples, UIntPtr frames, out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_microphone_feed_write(ulong microphone, float[] samples, UIntPtr count, out UIntPtr taken);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_peer_voice_close(ulong voice);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_mix_voice_close(ulong mix);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_microphone_feed_close(ulong microphone);
    }
}
