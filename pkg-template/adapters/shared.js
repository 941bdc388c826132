// What adapters share. They are given a machine and import no framework.

/** The most seconds that a command may take: frameworks end commands themselves, by their signal. */
export const LONGEST_SECONDS = 86_400;

const encoder = new TextEncoder();

/** What a command printed, as bytes. */
export const bytesOf = ({ bytes, data }) => bytes ?? encoder.encode(data);

/** `undefined` where there is no such file. */
export const unlessMissing = async (promise) => {
  try {
    return await promise;
  } catch (error) {
    if (error?.name === 'NotFoundError' && error.code !== 'machine_not_found') return undefined;
    throw error;
  }
};
