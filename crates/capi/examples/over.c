/* Voice over a network that a game has, here one of lists in memory, with two players in one program: Ada hosts, Ben joins.
 *
 *   cc over.c $(pkg-config --cflags --libs voicemesh) -o over
 *   ./over ADA-INPUT ADA-OUTPUT BEN-INPUT BEN-OUTPUT FRAMES
 *
 * What they say and write is encrypted end to end with a key that both have. Each writes to the other. It ends when each has heard as many frames of 20 ms from the other. A game that brings its own network
 * replaces what stands between the two lines; the rest is what it needs of this library.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <voicemesh.h>

/* One frame of a game that draws 60 of them a second. Here it only waits; a game would draw. */
#define FRAME_MS 16

/* A game makes 16 random bytes for each match, and hands them to its players with the invitation: who runs the server of its
 * network does not see them. */
static const uint8_t KEY[16] = {0x3f, 0xa2, 0x91, 0x0c, 0x77, 0x1e, 0xd4, 0x58, 0xb9, 0x60, 0x2b, 0xe3, 0x15, 0x8d, 0xcf, 0x46};

/* --- the game's network --------------------------------------------------------------------------------------------------- */

/* Something that happened to a player, with its packet behind it. */
struct happened {
  struct happened *next;
  int type;
  uint64_t from;
  size_t length;
  uint8_t bytes[1];
};

struct player {
  uint64_t number;
  const char *name;
  struct player *other;
  int serves;
  int is_connected;
  struct happened *first, *last;
  /* What the library was given last; it may look at it until it asks for the next. */
  struct happened *given;
  vmesh_room voice;
  int has_read;
};

static void push(struct player *to, int type, uint64_t from, const uint8_t *packet, size_t length) {
  struct happened *one = malloc(sizeof *one + length);
  if (one == NULL) {
    abort();
  }
  one->next = NULL;
  one->type = type;
  one->from = from;
  one->length = length;
  if (length > 0) {
    memcpy(one->bytes, packet, length);
  }
  if (to->last != NULL) {
    to->last->next = one;
  } else {
    to->first = one;
  }
  to->last = one;
}

static void forget(struct player *player) {
  while (player->first != NULL) {
    struct happened *one = player->first;
    player->first = one->next;
    free(one);
  }
  player->last = NULL;
}

static int32_t net_connect(void *context) {
  struct player *self = context;
  self->is_connected = self->other->serves;
  push(self, self->is_connected ? VMESH_NETWORK_CONNECTED : VMESH_NETWORK_DISCONNECTED, 0, NULL, 0);
  return VMESH_OK;
}

static void net_disconnect(void *context) {
  struct player *self = context;
  if (self->is_connected) {
    self->is_connected = 0;
    forget(self);
    push(self->other, VMESH_NETWORK_CLIENT_GONE, self->number, NULL, 0);
  }
}

static int32_t net_host(void *context) {
  struct player *self = context;
  self->serves = 1;
  push(self, VMESH_NETWORK_HOSTING, 0, NULL, 0);
  return VMESH_OK;
}

static void net_stop_hosting(void *context) {
  struct player *self = context;
  if (self->serves) {
    self->serves = 0;
    forget(self);
    if (self->other->is_connected) {
      self->other->is_connected = 0;
      push(self->other, VMESH_NETWORK_DISCONNECTED, 0, NULL, 0);
    }
  }
}

static int32_t net_send_to_server(void *context, int32_t reliability, const uint8_t *packet, size_t length) {
  struct player *self = context;
  /* Here nothing is ever lost. */
  (void)reliability;
  if (!self->is_connected) {
    return VMESH_ERROR_LEFT;
  }
  push(self->other, VMESH_NETWORK_FROM_CLIENT, self->number, packet, length);
  return VMESH_OK;
}

static int32_t net_send_to_client(void *context, uint64_t client, int32_t reliability, const uint8_t *packet, size_t length) {
  struct player *self = context;
  (void)reliability;
  if (!self->other->is_connected || client != self->other->number) {
    return VMESH_ERROR_LEFT;
  }
  push(self->other, VMESH_NETWORK_FROM_SERVER, 0, packet, length);
  return VMESH_OK;
}

static int32_t net_receive(void *context, vmesh_network_event *event) {
  struct player *self = context;
  struct happened *one = self->first;
  free(self->given);
  self->given = one;
  if (one == NULL) {
    return VMESH_EMPTY;
  }
  self->first = one->next;
  if (self->first == NULL) {
    self->last = NULL;
  }
  event->type = one->type;
  event->peer = one->from;
  event->data = one->bytes;
  event->length = one->length;
  return VMESH_OK;
}

/* --- the voice ------------------------------------------------------------------------------------------------------------ */

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, vmesh_last_error());
  return 1;
}

static int open_voice(struct player *player, const char *input, const char *output) {
  vmesh_network network;
  vmesh_options options;
  memset(&network, 0, sizeof network);
  network.size = sizeof network;
  network.context = player;
  network.connect = net_connect;
  network.disconnect = net_disconnect;
  network.host = net_host;
  network.stop_hosting = net_stop_hosting;
  network.send_to_server = net_send_to_server;
  network.send_to_client = net_send_to_client;
  network.receive = net_receive;
  vmesh_options_init(&options, sizeof options);
  options.name.data = player->name;
  options.input.data = input;
  options.output.data = output;
  options.room_key = KEY;
  options.room_key_length = sizeof KEY;
  return vmesh_over_new(&options, &network, &player->voice);
}

/* A frame of one player: what its game's network is, and what has happened. */
static int frame(struct player *player, int32_t mode) {
  vmesh_event event;
  event.size = sizeof event;
  if (vmesh_over_follow(player->voice, mode) != VMESH_OK || vmesh_over_update(player->voice) != VMESH_OK) {
    return failed("a frame");
  }
  while (vmesh_events_poll(player->voice, &event) == VMESH_OK) {
    if (event.type == VMESH_EVENT_PEER_JOINED) {
      printf("{\"event\":\"peer-joined\",\"at\":\"%s\",\"name\":\"%s\"}\n", player->name, event.name.data);
      if (vmesh_participant_send_text(player->voice, &event.peer, "hello", VMESH_NUL_TERMINATED) != VMESH_OK) {
        return failed("vmesh_participant_send_text");
      }
    } else if (event.type == VMESH_EVENT_TEXT) {
      printf("{\"event\":\"text\",\"at\":\"%s\",\"name\":\"%s\",\"text\":\"%s\"}\n", player->name, event.name.data,
             event.text.data);
      player->has_read = 1;
    } else if (event.type == VMESH_EVENT_ENCRYPTION_CHANGED) {
      /* "verified": the other has the key. "refused" or "unable": it has another, or none, and hears nothing. */
      printf("{\"event\":\"encryption\",\"at\":\"%s\",\"code\":\"%s\"}\n", player->name, event.code.data);
    } else if (event.type == VMESH_EVENT_WARNED || event.type == VMESH_EVENT_REFUSED) {
      fprintf(stderr, "%s: %s\n", player->name, event.text.data);
      return 1;
    }
    fflush(stdout);
  }
  vmesh_events_wait(player->voice, FRAME_MS / 2);
  return 0;
}

static unsigned long long frames_heard(struct player *player) {
  vmesh_peer_state other;
  size_t count = 0;
  if (vmesh_room_peers(player->voice, &other, sizeof other, 1, &count) != VMESH_OK || count != 1) {
    return 0;
  }
  return other.frames_heard;
}

int main(int count, char **arguments) {
  struct player ada, ben;
  unsigned long long wanted;
  int32_t mode = VMESH_MODE_NONE;
  size_t held = 0;
  memset(&ada, 0, sizeof ada);
  memset(&ben, 0, sizeof ben);
  if (count != 6) {
    fprintf(stderr, "usage: over ADA-INPUT ADA-OUTPUT BEN-INPUT BEN-OUTPUT FRAMES\n");
    return 2;
  }
  ada.number = 1;
  ada.name = "Ada";
  ada.other = &ben;
  ben.number = 2;
  ben.name = "Ben";
  ben.other = &ada;
  wanted = strtoull(arguments[5], NULL, 10);
  if (open_voice(&ada, arguments[1], arguments[2]) != VMESH_OK || open_voice(&ben, arguments[3], arguments[4]) != VMESH_OK) {
    return failed("vmesh_over_new");
  }
  while (!ada.has_read || !ben.has_read || frames_heard(&ada) < wanted || frames_heard(&ben) < wanted) {
    /* Ben asks before there is a host, and is let in at a later try. */
    if (frame(&ben, VMESH_MODE_CLIENT) != 0 || frame(&ada, VMESH_MODE_HOST) != 0) {
      return 1;
    }
  }
  if (vmesh_over_mode(ada.voice, &mode) != VMESH_OK || mode != VMESH_MODE_HOST) {
    return failed("the mode");
  }
  /* What needs a room says so. */
  if (vmesh_room_send_to_all(ada.voice, NULL, 0, VMESH_RELIABLE) != VMESH_ERROR_NO_ROOM ||
      vmesh_participant_held_group(ada.voice, NULL, 0, NULL, 0, &held) != VMESH_EMPTY) {
    return failed("a call for rooms");
  }
  /* A farewell of Ben's leaves as his handle is closed, and Ada has it in the next frame. */
  if (vmesh_room_close(ben.voice) != VMESH_OK) {
    return failed("vmesh_room_close");
  }
  while (frames_heard(&ada) != 0) {
    if (frame(&ada, VMESH_MODE_HOST) != 0) {
      return 1;
    }
  }
  if (vmesh_room_close(ada.voice) != VMESH_OK || vmesh_over_update(ada.voice) != VMESH_ERROR_CLOSED) {
    return failed("a closed handle");
  }
  forget(&ada);
  forget(&ben);
  free(ada.given);
  free(ben.given);
  printf("{\"event\":\"done\"}\n");
  return 0;
}
