/* A game loop with voice: joins a room, answers texts, and prints what happens, one line of JSON each.
 *
 *   cc room.c $(pkg-config --cflags --libs voicemesh) -o room
 *   ./room ws://127.0.0.1:8080 lobby Ada [STATE-DIR [INPUT [OUTPUT]]]
 *
 * It leaves when another peer writes "leave, NAME".
 */
#include <stdio.h>
#include <string.h>

#include <voicemesh.h>

/* One frame of a game that draws 60 of them a second. Here it only waits; a game would draw. */
#define FRAME_MS 16

static void print_string(const char *name, vmesh_string text) {
  size_t at;
  printf(",\"%s\":\"", name);
  for (at = 0; at < text.length; at++) {
    unsigned char byte = (unsigned char)text.data[at];
    if (byte == '"' || byte == '\\') {
      printf("\\%c", byte);
    } else if (byte < 0x20) {
      printf("\\u%04x", byte);
    } else {
      putchar(byte);
    }
  }
  putchar('"');
}

static void print_event(const char *what, const vmesh_event *event) {
  char id[37];
  size_t at;
  if (vmesh_peer_id_text(&event->peer, id, sizeof id) != VMESH_OK) {
    id[0] = '\0';
  }
  printf("{\"event\":\"%s\",\"peer\":\"%s\",\"route\":%d,\"on\":%d,\"muted\":%s", what, id, (int)event->route, (int)event->on,
         event->status & VMESH_STATUS_MUTED ? "true" : "false");
  print_string("name", event->name);
  print_string("text", event->text);
  print_string("code", event->code);
  printf(",\"metadata\":%d", (int)event->metadata_count);
  for (at = 0; at < event->metadata_count; at++) {
    /* Names and values end in a NUL too. */
    fprintf(stderr, "metadata: %s = %s\n", event->metadata[at].key.data, event->metadata[at].value.data);
  }
  printf("}\n");
  fflush(stdout);
}

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, vmesh_last_error());
  return 1;
}

/* Answers a text. 0 means that it asks this program to leave. */
static int answer(vmesh_room room, const vmesh_event *event, const char *own_name) {
  char reply[4200];
  snprintf(reply, sizeof reply, "leave, %s", own_name);
  if (strcmp(event->text.data, reply) == 0) {
    return 0;
  }
  snprintf(reply, sizeof reply, "you said: %.4000s", event->text.data);
  if (vmesh_participant_send_text(room, &event->peer, reply, VMESH_NUL_TERMINATED) != VMESH_OK) {
    failed("vmesh_participant_send_text");
  }
  return 1;
}

/* What happened since the last frame. 0 means that the game is over. */
static int play(vmesh_room room, const char *own_name) {
  vmesh_event event;
  event.size = sizeof event;
  while (vmesh_events_poll(room, &event) == VMESH_OK) {
    switch (event.type) {
    case VMESH_EVENT_JOINED: print_event("joined", &event); break;
    case VMESH_EVENT_CONNECTED: print_event("connected", &event); break;
    case VMESH_EVENT_PEER_JOINED: print_event("peer-joined", &event); break;
    case VMESH_EVENT_PEER_LEFT: print_event("peer-left", &event); break;
    case VMESH_EVENT_ROUTE_CHANGED: print_event("route-changed", &event); break;
    case VMESH_EVENT_FIRST_HEARD: print_event("first-heard", &event); break;
    /* A peer muted or deafened itself, say: a game shows it beside the name. */
    case VMESH_EVENT_STATUS_CHANGED: print_event("status-changed", &event); break;
    case VMESH_EVENT_TEXT:
      print_event("text", &event);
      if (!answer(room, &event, own_name)) {
        return 0;
      }
      break;
    case VMESH_EVENT_MESSAGE:
      print_event("message", &event);
      /* Back to where it came from, the same way. */
      if (vmesh_participant_send(room, &event.peer, event.data, event.data_length, event.reliability) != VMESH_OK) {
        failed("vmesh_participant_send");
      }
      break;
    case VMESH_EVENT_REFUSED: print_event("refused", &event); return 0;
    case VMESH_EVENT_REPLACED: print_event("replaced", &event); return 0;
    case VMESH_EVENT_LEFT: return 0;
    default: break;
    }
  }
  return 1;
}

/* What a game would draw: who is here, who speaks. */
static void print_peers(vmesh_room room) {
  vmesh_peer_state peers[16];
  size_t count, at;
  if (vmesh_room_peers(room, peers, sizeof peers[0], 16, &count) != VMESH_OK) {
    failed("vmesh_room_peers");
    return;
  }
  for (at = 0; at < count && at < 16; at++) {
    fprintf(stderr, "%s: route %d, %.0f dBFS, %llu frames heard\n", peers[at].name, (int)peers[at].route,
            (double)peers[at].level_dbfs, (unsigned long long)peers[at].frames_heard);
  }
}

int main(int count, char **arguments) {
  vmesh_options options;
  vmesh_room room;
  if (vmesh_abi_version() != VMESH_ABI_VERSION) {
    fprintf(stderr, "this program was built for another voicemesh than %s\n", vmesh_version());
    return 1;
  }
  if (count < 4) {
    fprintf(stderr, "usage: room SERVER ROOM NAME [STATE-DIR [INPUT [OUTPUT]]]\n");
    return 2;
  }
  vmesh_options_init(&options, sizeof options);
  options.server.data = arguments[1];
  options.room.data = arguments[2];
  options.name.data = arguments[3];
  options.state_dir.data = count > 4 ? arguments[4] : NULL;
  options.input.data = count > 5 ? arguments[5] : NULL;
  options.output.data = count > 6 ? arguments[6] : NULL;
  if (vmesh_room_join(&options, &room) != VMESH_OK) {
    return failed("vmesh_room_join");
  }
  while (play(room, arguments[3])) {
    vmesh_events_wait(room, FRAME_MS);
  }
  print_peers(room);
  if (vmesh_room_close(room) != VMESH_OK) {
    return failed("vmesh_room_close");
  }
  /* Closing again does no harm, and a closed handle is an error that can be told. */
  if (vmesh_room_close(room) != VMESH_OK || vmesh_microphone_set_muted(room, 1) != VMESH_ERROR_CLOSED) {
    return failed("a closed handle");
  }
  printf("{\"event\":\"done\"}\n");
  return 0;
}
