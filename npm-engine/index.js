// Where the program is: in the package of this platform, which npm, pnpm and yarn install beside this one because it is an optional
// dependency that names the platform. Nothing is downloaded or run while it is installed.

const NAME = 'nullspace-engine';

/** The absolute path of the program. */
exports.binaryPath = () => {
  const name = `${NAME}-${process.platform}-${process.arch}`;
  try {
    return require.resolve(`${name}/bin/${NAME}`);
  } catch {
    throw new Error(
      Object.hasOwn(require('./package.json').optionalDependencies ?? {}, name)
        ? `${name} is not installed: install ${NAME} again, without --omit=optional, on the computer where it shall run`
        : `there is no ${NAME} for ${process.platform} ${process.arch}: it runs on Linux`,
    );
  }
};
