// The functions of voicemesh.h for a game: channels, the lobby, places, handles to speak by, and sound.

using System;
using System.Runtime.InteropServices;

namespace Voicemesh
{
    internal static partial class Native
    {
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_open_channel(ulong peer, ref PeerId to, byte channel, int reliability);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_close_channel(ulong peer, ref PeerId to, byte channel);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_send_on(ulong peer, ref PeerId to, byte channel, IntPtr data, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_disconnect(ulong peer, ref PeerId from);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_queued_bytes(ulong peer, ref PeerId to, out UIntPtr count);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_flush(ulong peer);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_owner(ulong peer, out PeerId owner);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_metadata(ulong peer, IntPtr changes, UIntPtr count, out ulong transaction);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_room_metadata(ulong peer, IntPtr changes, UIntPtr count, out ulong transaction);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_metadata(ulong peer, IntPtr of, byte[] key, UIntPtr length, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_held_group(ulong peer, IntPtr of, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_safety_code(ulong peer, byte[] buffer, UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_new_link(byte[] server, UIntPtr serverLength, byte[] room, UIntPtr roomLength,
            byte[] buffer, UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_metadata_key(ulong peer, IntPtr of, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_room_metadata(ulong peer, byte[] key, UIntPtr length, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_room_metadata_key(ulong peer, UIntPtr number, byte[] buffer,
            UIntPtr capacity, out UIntPtr needed);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_connect_peer(ulong peer, ref PeerId to, byte[] token, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_update_peer(ulong peer, ref PeerId to, byte[] token, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_disconnect_peer(ulong peer, ref PeerId from);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_get_level(ulong peer, ref PeerId of, out float level, out int speaking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_listener(ulong peer, ref NativePose pose);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_position(ulong peer, ref PeerId of, ref Vector position, ref Vector velocity);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_clear_position(ulong peer, ref PeerId of);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_attenuation(ulong peer, int kind, float reference, float max, float rolloff);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_create_grid(byte[] prefix, UIntPtr length, float range, int axes, out ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_move_in_grid(ulong peer, ulong grid, ref Vector position);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_leave_grid(ulong peer, ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_close_grid(ulong grid);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speak_to_group(ulong peer, byte[] name, UIntPtr length, float volume,
            int priority, int positional, out ulong speaking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_speak_to_peer(ulong peer, ref PeerId to, float volume, int priority,
            int positional, out ulong speaking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_set_speaking(ulong speaking, float volume, int priority, int positional);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_stop_speaking(ulong speaking);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_listen(ulong peer, byte[] group, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_unlisten(ulong peer, byte[] group, UIntPtr length);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_open_voice(ulong peer, ref PeerId of, uint rate, out ulong voice);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_open_mix(ulong peer, uint rate, out ulong mix);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_open_microphone(ulong peer, uint rate, out ulong microphone);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_read_voice(ulong voice, [Out] float[] samples, UIntPtr count, out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_read_mix(ulong mix, [Out] float[] samples, UIntPtr frames, out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_write_microphone(ulong microphone, float[] samples, UIntPtr count, out UIntPtr taken);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_close_voice(ulong voice);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_close_mix(ulong mix);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_close_microphone(ulong microphone);
    }
}
