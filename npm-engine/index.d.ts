/**
 * The absolute path of the engine's program.
 *
 * @throws if the package of this platform is not installed, or there is none
 */
export function binaryPath(): string;
