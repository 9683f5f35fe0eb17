/** What a browser says of the network under the page. */

import { networkInformation, onChange } from './optional.js';

/**
 * @param {{changed: () => void, lost: () => void, shown: () => void}} on
 *   `changed`: another network, or one again. `lost`: none. `shown`: the page is looked at again.
 */
export function watchNetwork({ changed, lost, shown }) {
  addEventListener('online', changed);
  addEventListener('offline', lost);
  // A page that was frozen goes on with dead connections.
  document.addEventListener('resume', changed);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') shown();
  });
  const connection = networkInformation();
  // Quality changes all the time; another kind of network is another network.
  let kind = connection?.type;
  onChange(connection, () => {
    if (connection.type === kind) return;
    kind = connection.type;
    if (kind !== 'none') changed();
  });
}
