/** The build of hls.js without what we do not use has the same types. */
declare module "hls.js/light" {
  export { default } from "hls.js";
}
