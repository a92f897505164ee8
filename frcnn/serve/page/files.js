// Files that are dropped or chosen, and pictures that a browser can show.

const IMAGE = /\.(png|jpe?g|jpe|jfif|tiff?|bmp|dib|webp|gif|p[bgpn]m|jp2|j2k|avif)$/i;
const THUMBNAIL = 96;

export const isImage = (file) => IMAGE.test(file.name) || file.type.startsWith("image/");

// Chosen files as {file, name}; of a folder the name has the folders in it.
export const chosen = (list) => Array.from(list, (file) => (
  { file, name: file.webkitRelativePath || file.name }));

// Dropped files, those in dropped folders too.
export async function dropped(transfer) {
  const entries = Array.from(transfer.items ?? [], (item) => item.webkitGetAsEntry?.())
    .filter(Boolean);
  if (!entries.length) return { files: chosen(transfer.files), hasFolder: false };
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return { files, hasFolder: entries.some((entry) => entry.isDirectory) };
}

async function walk(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    files.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives a hundred at a time
    const more = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!more.length) break;
    more.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    for (const child of more) await walk(child, files);
  }
}

// A small picture as a blob, or null if the browser cannot read the file, as it cannot TIFF.
export async function thumbnail(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return null;
  }
  const scale = Math.min(1, THUMBNAIL / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.85); });
}

// A data URL as a blob. Not by fetch, which the page's policy allows for the server alone.
export function blobOf(url) {
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type: "image/jpeg" });
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(link.href); }, 60_000);
}
