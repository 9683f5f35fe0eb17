// A game's own network as the C library calls it: static functions with a number for the object, which is what IL2CPP can hand
// over. They are called within vmesh_over_update and vmesh_room_close only.

using System;
using System.Runtime.InteropServices;

namespace Voicemesh
{
    /// IL2CPP looks for an attribute of this name.
    [AttributeUsage(AttributeTargets.Method)]
    internal sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        public MonoPInvokeCallbackAttribute(Type type) { }
    }

    /// What a game's network does for the library.
    internal interface INetworkFunctions
    {
        void Connect();

        void Disconnect();

        void Host();

        void StopHosting();

        void SendToServer(bool isReliable, IntPtr packet, int length);

        void SendToClient(ulong client, bool isReliable, IntPtr packet, int length);

        bool Receive(ref NativeNetworkEvent happened);

        void Flush();

        void EndClient(ulong client);

        /// What a function has thrown goes on when the library has returned.
        void Threw(Exception exception);
    }

    internal enum NetworkEventType
    {
        None = 0,
        Connected = 1,
        Disconnected = 2,
        Broken = 3,
        FromServer = 4,
        Hosting = 5,
        HostingFailed = 6,
        FromClient = 7,
        ClientGone = 8
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeNetworkEvent
    {
        public uint Size;
        public int Type;
        public ulong Peer;
        public uint Link;
        public int Reserved;
        public IntPtr Data;
        public UIntPtr Length;
        public IntPtr Text;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct NativeNetwork
    {
        public uint Size;
        public uint UnreliableBytes;
        public uint ReliableBytes;
        public int Reserved;
        public IntPtr Context;
        public IntPtr Connect;
        public IntPtr Disconnect;
        public IntPtr Host;
        public IntPtr StopHosting;
        public IntPtr SendToServer;
        public IntPtr SendToClient;
        public IntPtr Receive;
        public IntPtr Flush;
        public IntPtr EndClient;
        public IntPtr SendToLink;
        public IntPtr ReleaseLink;
    }

    /// The beginning of vmesh_snapshot.
    [StructLayout(LayoutKind.Sequential, Size = 88)]
    internal struct NativeState
    {
        public uint Size;
        public int Connected;
    }

    internal static class NetworkFunctions
    {
        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int Begin(IntPtr context);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate void End(IntPtr context);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int SendUp(IntPtr context, int reliability, IntPtr packet, UIntPtr length);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int SendDown(IntPtr context, ulong client, int reliability, IntPtr packet, UIntPtr length);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int Take(IntPtr context, ref NativeNetworkEvent happened);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate void EndOne(IntPtr context, ulong client);

        // Kept, so that the collector does not take what only C knows.
        private static readonly Begin connect = Connect;
        private static readonly End disconnect = Disconnect;
        private static readonly Begin host = Host;
        private static readonly End stopHosting = StopHosting;
        private static readonly SendUp sendToServer = SendToServer;
        private static readonly SendDown sendToClient = SendToClient;
        private static readonly Take receive = Receive;
        private static readonly End flush = Flush;
        private static readonly EndOne endClient = EndClient;

        /// The table for one network, which is found again by its handle.
        internal static NativeNetwork Table(GCHandle network, int unreliableBytes, int reliableBytes)
        {
            return new NativeNetwork
            {
                Size = (uint)Marshal.SizeOf(typeof(NativeNetwork)),
                UnreliableBytes = (uint)unreliableBytes,
                ReliableBytes = (uint)reliableBytes,
                Context = GCHandle.ToIntPtr(network),
                Connect = Marshal.GetFunctionPointerForDelegate(connect),
                Disconnect = Marshal.GetFunctionPointerForDelegate(disconnect),
                Host = Marshal.GetFunctionPointerForDelegate(host),
                StopHosting = Marshal.GetFunctionPointerForDelegate(stopHosting),
                SendToServer = Marshal.GetFunctionPointerForDelegate(sendToServer),
                SendToClient = Marshal.GetFunctionPointerForDelegate(sendToClient),
                Receive = Marshal.GetFunctionPointerForDelegate(receive),
                Flush = Marshal.GetFunctionPointerForDelegate(flush),
                EndClient = Marshal.GetFunctionPointerForDelegate(endClient)
            };
        }

        private static INetworkFunctions Of(IntPtr context)
        {
            return (INetworkFunctions)GCHandle.FromIntPtr(context).Target;
        }

        /// No exception goes into the library.
        private static int Guarded(INetworkFunctions network, Action call)
        {
            try
            {
                call();
                return (int)Result.Ok;
            }
            catch (Exception exception)
            {
                network.Threw(exception);
                return (int)Result.Internal;
            }
        }

        [MonoPInvokeCallback(typeof(Begin))]
        private static int Connect(IntPtr context)
        {
            var network = Of(context);
            return Guarded(network, network.Connect);
        }

        [MonoPInvokeCallback(typeof(End))]
        private static void Disconnect(IntPtr context)
        {
            var network = Of(context);
            Guarded(network, network.Disconnect);
        }

        [MonoPInvokeCallback(typeof(Begin))]
        private static int Host(IntPtr context)
        {
            var network = Of(context);
            return Guarded(network, network.Host);
        }

        [MonoPInvokeCallback(typeof(End))]
        private static void StopHosting(IntPtr context)
        {
            var network = Of(context);
            Guarded(network, network.StopHosting);
        }

        // Those that are called for each packet make no closures.

        [MonoPInvokeCallback(typeof(SendUp))]
        private static int SendToServer(IntPtr context, int reliability, IntPtr packet, UIntPtr length)
        {
            var network = Of(context);
            try
            {
                network.SendToServer(reliability != 0, packet, (int)length);
                return (int)Result.Ok;
            }
            catch (Exception exception)
            {
                network.Threw(exception);
                return (int)Result.Internal;
            }
        }

        [MonoPInvokeCallback(typeof(SendDown))]
        private static int SendToClient(IntPtr context, ulong client, int reliability, IntPtr packet, UIntPtr length)
        {
            var network = Of(context);
            try
            {
                network.SendToClient(client, reliability != 0, packet, (int)length);
                return (int)Result.Ok;
            }
            catch (Exception exception)
            {
                network.Threw(exception);
                return (int)Result.Internal;
            }
        }

        [MonoPInvokeCallback(typeof(Take))]
        private static int Receive(IntPtr context, ref NativeNetworkEvent happened)
        {
            var network = Of(context);
            try
            {
                return (int)(network.Receive(ref happened) ? Result.Ok : Result.Empty);
            }
            catch (Exception exception)
            {
                network.Threw(exception);
                return (int)Result.Empty;
            }
        }

        [MonoPInvokeCallback(typeof(End))]
        private static void Flush(IntPtr context)
        {
            var network = Of(context);
            Guarded(network, network.Flush);
        }

        [MonoPInvokeCallback(typeof(EndOne))]
        private static void EndClient(IntPtr context, ulong client)
        {
            var network = Of(context);
            Guarded(network, () => network.EndClient(client));
        }
    }

    internal static partial class Native
    {
        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_over_new(ref NativeOptions options, ref NativeNetwork network, out ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_over_update(ulong room);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_over_follow(ulong room, int mode);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_over_run(ulong room, int mode);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_over_mode(ulong room, out int mode);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        public static extern Result vmesh_room_snapshot(ulong room, ref NativeState state);
    }
}
