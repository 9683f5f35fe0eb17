/* Voice inside a game: places, sound for the game's own audio thread, its own microphone, messages, and a lobby's metadata. Prints
 * what happens, one line of JSON each.
 *
 *   cc places.c $(pkg-config --cflags --libs voicemesh) -lpthread -o places
 *   ./places ws://127.0.0.1:8080 field Bob PASSWORD [STATE-DIR]
 *
 * It leaves when another peer writes "leave, NAME".
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <voicemesh.h>

#define FRAME_MS 16
#define CHANNEL 7
#define MIX_HZ 48000
#define VOICE_HZ 44100
#define MICROPHONE_HZ 16000
/* What the audio thread moves at a time: 10 ms. */
#define MIX_FRAMES (MIX_HZ / 100)
#define VOICE_SAMPLES (VOICE_HZ / 100)
#define MICROPHONE_SAMPLES (MICROPHONE_HZ / 100)

/* What the audio thread works with, and the peaks of what it has heard last. */
struct audio {
  vmesh_mix_voice mix;
  vmesh_peer_voice voice;
  vmesh_microphone_feed microphone;
  pthread_mutex_t heard;
  float left, right, mono;
};

static float louder(float peak, float sample) {
  float size = sample < 0 ? -sample : sample;
  return size > peak ? size : peak;
}

/* Stands in for the callback of a sound device. It ends when another thread closes what it reads. */
static void *run_audio(void *context) {
  struct audio *audio = context;
  static float mix[2 * MIX_FRAMES], voice[VOICE_SAMPLES], spoken[MICROPHONE_SAMPLES];
  const struct timespec pause = {0, 10 * 1000 * 1000};
  vmesh_result result = VMESH_OK;
  size_t at, phase = 0;
  while (result == VMESH_OK || result == VMESH_EMPTY) {
    float left = 0, right = 0, mono = 0;
    if (audio->voice != 0) {
      result = vmesh_peer_voice_read(audio->voice, voice, VOICE_SAMPLES, NULL);
      for (at = 0; at < VOICE_SAMPLES; at++) mono = louder(mono, voice[at]);
    } else {
      result = vmesh_mix_voice_read(audio->mix, mix, MIX_FRAMES, NULL);
      for (at = 0; at < MIX_FRAMES; at++) {
        left = louder(left, mix[2 * at]);
        right = louder(right, mix[2 * at + 1]);
      }
    }
    /* A buzz of 200 Hz, in place of speech. */
    for (at = 0; at < MICROPHONE_SAMPLES; at++) spoken[at] = (float)(phase++ % 80) / 160.0f - 0.25f;
    vmesh_microphone_feed_write(audio->microphone, spoken, MICROPHONE_SAMPLES, NULL);
    /* An audio thread must not block: while the lock is taken, the levels are not updated. */
    if (pthread_mutex_trylock(&audio->heard) == 0) {
      audio->left = left;
      audio->right = right;
      audio->mono = mono;
      pthread_mutex_unlock(&audio->heard);
    }
    nanosleep(&pause, NULL);
  }
  return NULL;
}

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, vmesh_last_error());
  return 1;
}

#define MUST(call)                                                                                                                \
  do {                                                                                                                            \
    if ((call) != VMESH_OK) return failed(#call);                                                                                    \
  } while (0)

/* The texts of this example have nothing in them that JSON would want escaped. */
static void print(const char *what, const vmesh_event *event) {
  printf("{\"event\":\"%s\",\"name\":\"%s\",\"text\":\"%s\",\"code\":\"%s\",\"on\":%d,\"channel\":%d,\"reliability\":%d,"
         "\"transaction\":%lu,\"length\":%lu}\n",
         what, event->name.data, event->text.data, event->code.data, (int)event->on, (int)event->channel, (int)event->reliability,
         (unsigned long)event->transaction, (unsigned long)event->data_length);
  fflush(stdout);
}

static void print_value(const char *what, const char *value) {
  printf("{\"event\":\"%s\",\"text\":\"%s\"}\n", what, value);
  fflush(stdout);
}

/* What the game knows of the room. */
struct game {
  vmesh_room room;
  const char *own_name;
  vmesh_peer_id other;
  int is_met, is_over;
  vmesh_transmission speaking;
};

/* A peer is in the room: opens a channel to it, sets its position, and opens a handle to speak to it. */
static int meet(struct game *game, const vmesh_event *event) {
  static const vmesh_vector right = {2, 0, 0}, still = {0, 0, 0};
  char text[600];
  vmesh_peer_id owner;
  game->other = event->peer;
  game->is_met = 1;
  MUST(vmesh_channel_open(game->room, &game->other, CHANNEL, VMESH_RELIABLE));
  MUST(vmesh_participant_set_position(game->room, &game->other, &right, &still));
  MUST(vmesh_group_leave(game->room, VMESH_GLOBAL_GROUP, VMESH_NUL_TERMINATED));
  MUST(vmesh_group_listen(game->room, VMESH_GLOBAL_GROUP, VMESH_NUL_TERMINATED));
  MUST(vmesh_room_transmit_to_peer(game->room, &game->other, 0.5f, VMESH_PRIORITY_HIGH, 0, &game->speaking));
  MUST(vmesh_transmission_set(game->speaking, 1.0f, VMESH_PRIORITY_DEFAULT, 0));
  MUST(vmesh_participant_metadata(game->room, &game->other, "team", VMESH_NUL_TERMINATED, text, sizeof text, NULL));
  print_value("team", text);
  MUST(vmesh_participant_metadata(game->room, &game->other, VMESH_REACHABILITY_KEY, VMESH_NUL_TERMINATED, text, sizeof text, NULL));
  MUST(vmesh_participant_connect(game->room, &game->other, text, VMESH_NUL_TERMINATED));
  if (vmesh_lobby_owner(game->room, &owner) == VMESH_OK) {
    print_value("owner", memcmp(&owner, &game->other, sizeof owner) == 0 ? "the other" : "me");
  }
  return 0;
}

/* Two changes, of which a guest may make one. */
static int publish(struct game *game) {
  vmesh_change changes[2];
  uint64_t own, room;
  memset(changes, 0, sizeof changes);
  changes[0].key.data = "seat";
  changes[0].key.length = VMESH_NUL_TERMINATED;
  changes[0].value.data = "3";
  changes[0].value.length = VMESH_NUL_TERMINATED;
  changes[1].key.data = "ready";
  changes[1].key.length = VMESH_NUL_TERMINATED;
  changes[1].remove = 1;
  MUST(vmesh_lobby_set_metadata(game->room, changes, 2, &own));
  MUST(vmesh_lobby_set_room_metadata(game->room, changes, 1, &room));
  printf("{\"event\":\"asked\",\"own\":%lu,\"room\":%lu}\n", (unsigned long)own, (unsigned long)room);
  return 0;
}

static int happened(struct game *game, const vmesh_event *event) {
  char text[64];
  switch (event->type) {
  case VMESH_EVENT_JOINED: print("joined", event); return publish(game);
  case VMESH_EVENT_PEER_JOINED: print("peer-joined", event); return meet(game, event);
  case VMESH_EVENT_PEER_LEFT: print("peer-left", event); break;
  case VMESH_EVENT_OWNER_CHANGED: print("owner-changed", event); break;
  case VMESH_EVENT_TRANSACTION_DONE:
    print("transaction", event);
    if (event->on) {
      MUST(vmesh_participant_metadata(game->room, NULL, "seat", VMESH_NUL_TERMINATED, text, sizeof text, NULL));
      print_value("seat", text);
    }
    break;
  case VMESH_EVENT_ROOM_METADATA_CHANGED:
    MUST(vmesh_lobby_room_metadata_key(game->room, 0, text, sizeof text, NULL));
    print_value("room", text);
    break;
  case VMESH_EVENT_CHANNEL_OPENED: print("channel-opened", event); break;
  case VMESH_EVENT_CHANNEL_MESSAGE:
    print("channel-message", event);
    MUST(vmesh_channel_send(game->room, &event->peer, (uint8_t)event->channel, event->data, event->data_length));
    break;
  case VMESH_EVENT_MESSAGE:
    print("message", event);
    MUST(vmesh_participant_send(game->room, &event->peer, event->data, event->data_length, event->reliability));
    break;
  case VMESH_EVENT_TEXT:
    snprintf(text, sizeof text, "leave, %s", game->own_name);
    game->is_over = strcmp(event->text.data, text) == 0;
    if (game->is_over) {
      /* To everyone who listens there. */
      MUST(vmesh_group_send_text(game->room, VMESH_GLOBAL_GROUP, VMESH_NUL_TERMINATED, "bye", VMESH_NUL_TERMINATED));
    }
    break;
  case VMESH_EVENT_REFUSED:
  case VMESH_EVENT_WARNED: print(event->type == VMESH_EVENT_REFUSED ? "refused" : "warned", event); break;
  case VMESH_EVENT_LEFT: game->is_over = 1; break;
  default: break;
  }
  return 0;
}

/* A frame of the game: what happened, and where everybody stands. */
static int frame(struct game *game) {
  static const vmesh_pose ears = {{0, 0, 0}, {0, 0, -1}, {0, 1, 0}};
  vmesh_event event;
  event.size = sizeof event;
  MUST(vmesh_speaker_set_listener(game->room, &ears));
  while (vmesh_events_poll(game->room, &event) == VMESH_OK) {
    if (happened(game, &event) != 0) return 1;
  }
  MUST(vmesh_room_flush(game->room));
  vmesh_events_wait(game->room, FRAME_MS);
  return 0;
}

/* Goes on with the game while the audio thread runs, until that has heard the other peer to the right,
 * or to the end. */
static int listen_on(struct game *game, struct audio *audio, const char *what) {
  pthread_t thread;
  int is_heard = 0, result = 0;
  audio->left = audio->right = audio->mono = 0;
  if (pthread_create(&thread, NULL, run_audio, audio) != 0) return failed("pthread_create");
  while (result == 0 && !game->is_over && !(is_heard && audio->voice == 0)) {
    result = frame(game);
    pthread_mutex_lock(&audio->heard);
    if (!is_heard && ((audio->right > 0.02f && audio->right > 2 * audio->left) || audio->mono > 0.05f)) {
      is_heard = 1;
      printf("{\"event\":\"%s\",\"left\":%f,\"right\":%f,\"mono\":%f}\n", what, (double)audio->left, (double)audio->right,
             (double)audio->mono);
      fflush(stdout);
    }
    pthread_mutex_unlock(&audio->heard);
  }
  /* The thread ends when what it reads is closed. */
  MUST(audio->voice != 0 ? vmesh_peer_voice_close(audio->voice) : vmesh_mix_voice_close(audio->mix));
  pthread_join(thread, NULL);
  return result;
}

static int play(struct game *game) {
  struct audio audio;
  vmesh_grid grid;
  static const vmesh_vector field = {100, 0, 30};
  memset(&audio, 0, sizeof audio);
  pthread_mutex_init(&audio.heard, NULL);
  MUST(vmesh_speaker_set_attenuation(game->room, VMESH_ATTENUATION_INVERSE, 1.0f, 50.0f, 1.0f));
  MUST(vmesh_microphone_open_feed(game->room, MICROPHONE_HZ, &audio.microphone));
  MUST(vmesh_speaker_open_mix(game->room, MIX_HZ, &audio.mix));
  /* First the mix of all voices, each from its position; then the voice of the other peer alone. */
  if (listen_on(game, &audio, "mix") != 0) return 1;
  MUST(vmesh_grid_new("field", VMESH_NUL_TERMINATED, 20.0f, VMESH_AXES_GROUND, &grid));
  MUST(vmesh_room_move_in(game->room, grid, &field));
  MUST(vmesh_participant_open_voice(game->room, &game->other, VOICE_HZ, &audio.voice));
  if (listen_on(game, &audio, "voice") != 0) return 1;
  MUST(vmesh_room_leave_grid(game->room, grid));
  MUST(vmesh_grid_close(grid));
  MUST(vmesh_transmission_close(game->speaking));
  MUST(vmesh_microphone_feed_close(audio.microphone));
  pthread_mutex_destroy(&audio.heard);
  return 0;
}

/* Without the right password, the join is refused. */
static int knock(vmesh_options options) {
  struct game game;
  memset(&game, 0, sizeof game);
  options.password.data = "guessed";
  options.name.data = "eve";
  MUST(vmesh_room_join(&options, &game.room));
  do {
    vmesh_event event;
    event.size = sizeof event;
    vmesh_events_wait(game.room, FRAME_MS);
    while (vmesh_events_poll(game.room, &event) == VMESH_OK) {
      game.is_over |= event.type == VMESH_EVENT_REFUSED || event.type == VMESH_EVENT_JOINED;
      if (game.is_over) print("knocked", &event);
    }
  } while (!game.is_over);
  return vmesh_room_close(game.room) == VMESH_OK ? 0 : failed("vmesh_room_close");
}

int main(int count, char **arguments) {
  vmesh_options options;
  vmesh_pair team;
  struct game game;
  int result;
  if (count < 5) {
    fprintf(stderr, "usage: places SERVER ROOM NAME PASSWORD [STATE-DIR]\n");
    return 2;
  }
  memset(&game, 0, sizeof game);
  vmesh_options_init(&options, sizeof options);
  options.server.data = arguments[1];
  options.room.data = arguments[2];
  options.name.data = game.own_name = arguments[3];
  options.password.data = arguments[4];
  options.state_dir.data = count > 5 ? arguments[5] : NULL;
  options.positional = 1;
  options.handedness = VMESH_HANDEDNESS_RIGHT;
  options.program_input = options.program_output = 1;
  options.manual_flush = 1;
  /* The buzz is no voice, and is to be sent as it is. */
  options.activation = VMESH_ACTIVATION_ALWAYS;
  options.has_processing = 1;
  options.echo_cancellation = options.automatic_gain = options.high_pass = 0;
  options.noise_suppression = VMESH_NOISE_OFF;
  team.key.data = "team";
  team.value.data = "red";
  team.key.length = team.value.length = VMESH_NUL_TERMINATED;
  options.metadata = &team;
  options.metadata_count = 1;
  MUST(vmesh_room_join(&options, &game.room));
  result = play(&game);
  if (result == 0) result = knock(options);
  MUST(vmesh_room_close(game.room));
  if (result == 0) printf("{\"event\":\"done\"}\n");
  return result;
}
